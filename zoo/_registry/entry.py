"""A model's record, as one entry of the manifest or the config.json of a saved model says it."""

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, is_dataclass
from functools import cache
from typing import Any, TypeAlias

from zoo._registry import packaged

SPECTROGRAM, SAMPLES = "input_features", "input_values"  # names of speech, as inputs of models
UNATTESTED = "unattested"  # instead of a hash or commit that nobody has published


class FrozenMapping(Mapping[str, Any]):
    """A mapping that hashes and compares by value; lists inside become tuples."""

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = {key: _freeze(value) for key, value in (items or {}).items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenMapping(value)
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value


@dataclass(frozen=True)
class Input:
    """One array that a model's `__call__` takes; batch first, channels last."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Weights:
    """Where weights are: a bundled `file`; a `file` of a Hub `repo` at a `revision` (a commit); a `url`.

    An unattested revision is the commit that the Hub's main branch is at when a first file is fetched.
    """

    sha256: str
    _: KW_ONLY
    size: int | None = None
    file: str | None = None
    repo: str | None = None
    revision: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return self.url or (
            f"{self.repo}@{self.revision}: {self.file}" if self.repo else f"bundled: {self.file}"
        )

    def __repr__(self) -> str:
        return f"Weights({', '.join(_assignments(self))})"


@dataclass(frozen=True)
class Digits:
    """Preprocessing of drawings; `ink: light` models read light strokes on a dark ground."""

    ink: str


@dataclass(frozen=True, kw_only=True)
class Photos:
    """Preprocessing of photos: resizes, crops the center, normalises colors.

    Attributes:
        resize: Length of the shorter side, or height and width, in pixels; None keeps a picture's own.
        crop: Side of the square cut out of the center, or height and width, in pixels; None keeps all.
        interpolation: Filter for resizing, by Pillow's name in lower case.
        mean: Mean of red, green and blue in [0, 1], or of gray alone; by default that of ImageNet's training
            images, which most models of photos share.
        std: Their standard deviation.
        rounding: Place of the crop where it cannot be at the center: "nearest", as torchvision's, or "floor",
            as that of transformers.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    interpolation: str
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    rounding: str = "nearest"

    @property
    def largest(self) -> float:
        """The largest value of a normalized pixel."""
        return max((1 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))


Preprocess: TypeAlias = Digits | Photos


@dataclass(frozen=True)
class Entry:
    """A model's record: its architecture, its weights, their license, origin and metrics.

    Attributes:
        name: Name that it is loaded by.
        num_params: Exact number of parameters.
        family: Architecture; None for a module outside the zoo.
        config: Keywords of the family's `create`.
        inputs: The arrays that the module takes.
        weights: Place of the published weights; None if there are none.
        layout: Naming convention of a PyTorch file; None for a Flax file.
        license: License of the weights.
        source: Origin of the weights, for readers.
        base_model: Model whose weights these were made from by training or other changes: a repository of the
            Hub as owner/name, or a name of the manifest. The license is then that of both.
        paper: Address of the paper.
        metrics: Results by data set, split and metric.
        preprocess: Preprocessing of images.
        classes: Name of the file in zoo/classes with the names of the classes.
        labels: Names of the classes, if no such file has them.
        scores: Meaning of the logits: "softmax", "sigmoid", "identity" or "tanh"; by default softmax of
            several classes, and the value itself of one.
        generation: Attributes of its generation_config.json that change what `zoo.generate` does.
    """

    # A name says nearly as much as all of it, and jax hashes the entry at each call.
    name: str
    num_params: int = field(hash=False)
    _: KW_ONLY
    family: str | None = field(default=None, hash=False)
    config: Mapping[str, Any] = field(default=FrozenMapping(), hash=False)
    inputs: tuple[Input, ...] = field(default=(), hash=False)
    weights: Weights | None = field(default=None, hash=False)
    layout: str | None = field(default=None, hash=False)
    license: str | None = field(default=None, hash=False)
    source: str | None = field(default=None, hash=False)
    base_model: str | None = field(default=None, hash=False)
    paper: str | None = field(default=None, hash=False)
    metrics: Mapping[str, float] = field(default=FrozenMapping(), hash=False)
    preprocess: Preprocess | None = field(default=None, hash=False)
    classes: str | None = field(default=None, hash=False)
    labels: tuple[str, ...] = field(default=(), hash=False)
    scores: str | None = field(default=None, hash=False)
    generation: Mapping[str, Any] = field(default=FrozenMapping(), hash=False)

    def __repr__(self) -> str:
        """Returns a line for each field that is not empty."""
        return "\n".join(["Entry(", *(f"    {each}," for each in _assignments(self)), ")"])

    @property
    def takes_tokens(self) -> bool:
        """Returns whether the first input is a text's tokens."""
        return bool(self.inputs) and self.inputs[0].dtype.startswith("int")

    @property
    def takes_images(self) -> bool:
        """Returns whether the first input is a batch of images."""
        return bool(self.inputs) and len(self.inputs[0].shape) == 4 and not self.takes_tokens

    @property
    def takes_speech(self) -> bool:
        """Returns whether the first input is sound: its samples, or a spectrogram."""
        return bool(self.inputs) and self.inputs[0].name in (SPECTROGRAM, SAMPLES)

    @property
    def has_text_files(self) -> bool:
        """Returns whether a tokenizer and its settings are beside the weights."""
        return self.takes_tokens or self.takes_speech

    @property
    def images(self) -> Input | None:
        """The input that is images; None where there is none."""
        return next((each for each in self.inputs if len(each.shape) == 4), None)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, one for each logit; empty where they are not known."""
        return _class_names(self.classes) if self.classes else self.labels


@cache
def _class_names(classes: str) -> tuple[str, ...]:
    # The first line says where the names are from.
    text = packaged.classes_path(classes).read_text(encoding="utf-8")
    return tuple(text.splitlines()[1:])


def fields_of(value: Any) -> dict[str, Any]:
    """Returns the fields of an entry, or of a part of one, that are not empty, spelt as in the manifest.

    Raises:
        TypeError: the value is none of an entry's parts.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {
            name: field for name, field in vars(value).items() if field not in (None, (), FrozenMapping())
        }
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(repr(value))


def _assignments(value: Any) -> list[str]:
    return [f"{name}={field!r}" for name, field in fields_of(value).items()]
