"""A name that was resolved: the object that everything below the edge takes."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from zoo._errors import WeightsError, ZooError
from zoo._hub.settings import Token
from zoo._registry.entry import Entry, FrozenMapping, Input, Weights

RUN = "run.json"  # record of a training run, whose directory has a model once it is finished


@dataclass(frozen=True, kw_only=True)
class Located:
    """A model's entry and where its files are: all from one commit, if they are in a repository.

    Attributes:
        entry: The record of the model; a repository's weights are pinned to a commit.
        directory: The directory of the model, if the name was one.
        token: For the Hub.
        counted: If false, the entry is from a config.json that does not state the number of parameters, and
            its `num_params` is 0 until `resolve.counted` or loading fills it in: counting traces the module.
    """

    entry: Entry
    directory: Path | None = None
    token: Token = field(default=None, repr=False, compare=False)
    counted: bool = True

    def __getstate__(self) -> dict[str, object]:
        """Returns what is pickled: all but the token, which is nobody else's."""
        return {**vars(self), "token": None}

    @property
    def weights(self) -> Weights:
        """Where the weights are.

        Raises:
            WeightsError: there are none.
        """
        if self.entry.weights is None:
            raise WeightsError(f"{self.entry.name!r} has no published weights; use pretrained=False.")
        return self.entry.weights

    @property
    def public_name(self) -> str:
        """Returns the name that tells others which weights these are: no path of this machine."""
        entry = self.entry
        if entry.weights is not None and entry.weights.repo:
            return entry.weights.repo
        if self.directory is not None:
            return entry.base_model or self.directory.resolve().name
        return entry.name

    def with_inputs(self, inputs: tuple[Input, ...]) -> "Located":
        """Returns the same model for inputs of other shapes."""
        return replace(self, entry=replace(self.entry, inputs=inputs))

    def with_head(self, head: str) -> "Located":
        """Returns the same model with another head than its config.json names; the weights must have it.

        Raises:
            ZooError: it is no repository in transformers' layout, where config.json alone decides.
        """
        if self.counted:
            raise ZooError(
                f"{self.entry.name!r} has the head that it was made with; leave the other one out."
            )
        config = FrozenMapping({**self.entry.config, "head": head})
        return replace(self, entry=replace(self.entry, config=config))
