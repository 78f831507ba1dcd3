"""The manifest entry of a model that is published."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from zoo._errors import ManifestError, PublishError
from zoo._registry import manifest_file
from zoo._registry.entry import Entry, Weights

UNKNOWN_COMMIT = "1" * 40  # stands for the commit until there is one


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """An entry to be added to a manifest.

    Attributes:
        entry: The entry as in config.json.
        repo: The repository that it is published in.
        manifest: The file to add it to; None if the user pastes it.
    """

    entry: Entry
    repo: str
    manifest: Path | None

    @classmethod
    def of(cls, entry: Entry, repo: str, manifest: Path | None) -> Self | None:
        """Checks that the manifest accepts the entry, and returns it; None for a module outside the zoo.

        Raises:
            PublishError: the manifest does not accept the entry.
        """
        if entry.family is None:
            if manifest:
                raise PublishError(f"a manifest has no place for {entry.name!r}: it is a module of your own.")
            return None
        listed = cls(entry=entry, repo=repo, manifest=manifest)
        if manifest:
            try:
                manifest_file.extended(manifest, listed.pinned(UNKNOWN_COMMIT))
            except ManifestError as error:
                raise PublishError(str(error)) from error
        return listed

    def pinned(self, commit: str) -> Entry:
        """Returns the entry named after the repository, with the weights at the commit."""
        weights = self.entry.weights
        assert weights is not None
        published = Weights(
            weights.sha256, size=weights.size, file=weights.file, repo=self.repo, revision=commit
        )
        return replace(self.entry, name=self.repo.partition("/")[2].lower(), weights=published)

    def write(self, commit: str) -> str:
        """Adds the entry to the manifest, if there is one, and returns its YAML."""
        entry = self.pinned(commit)
        if self.manifest is None:
            return manifest_file.block(entry)
        try:
            return manifest_file.add(self.manifest, entry)
        except ManifestError as error:
            raise PublishError(
                f"{self.repo!r} was published at {commit}, but {error} Paste the entry yourself:\n"
                f"{manifest_file.block(entry)}"
            ) from error
