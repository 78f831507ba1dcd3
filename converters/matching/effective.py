"""A state dict as the model computes with it: in the place of what a weight is computed from, the weight."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converters.errors import ConversionError
from converters.matching.fit import Fit
from converters.matching.parametrizations import Computed, wide
from converters.tensors import Tensors, aliases_of, notes_of

UNKNOWN = (
    "a parametrization computes it, and the file does not say how; where the file was made, call "
    "torch.nn.utils.parametrize.remove_parametrizations(layer, {leaf!r}) and save again"
)


class EffectiveTensors(Mapping[str, np.ndarray]):
    """The tensors of a state dict, and the weights that PyTorch computes of others instead of these.

    Attributes:
        shapes, dtypes, aliases, notes: As of every `Tensors`.
        refused: Weights that nobody can compute from the file -> the reason, and what to do.
        parts: Tensors of the file that weights are computed of -> the weight.
    """

    def __init__(self, tensors: Tensors, computed: Sequence[Computed]) -> None:
        self._tensors = tensors
        self._computed = {each.name: each for each in computed}
        first = {each.parts[0]: each.name for each in computed}
        self.parts = {part: each.name for each in computed for part in each.parts}
        hidden = self.parts.keys()
        self._order = [first.get(name, name) for name in tensors if name not in hidden or name in first]
        like = {each.name: _like(each) for each in computed}
        self.shapes = {name: tensors.shapes[like.get(name, name)] for name in self._order}
        self.dtypes = {name: tensors.dtypes[like.get(name, name)] for name in self._order}
        self.aliases = {
            name: other for name, other in aliases_of(tensors).items() if not {name, other} & hidden
        }
        self.notes = (*notes_of(tensors), *_notes(computed))
        self.refused = {
            each.name: UNKNOWN.format(leaf=each.name.rpartition(".")[2])
            for each in computed
            if each.kind is None
        }

    def __getitem__(self, name: str) -> np.ndarray:
        computed = self._computed.get(name)
        if computed is None:
            return self._tensors[name]
        if computed.kind is None:
            raise ConversionError(f"{name}: {self.refused[name]}")
        parts = [self._tensors[part] for part in computed.parts]
        try:
            return computed.kind.compute(*parts).astype(self.dtypes[name])
        except ConversionError as error:
            raise ConversionError(f"{name}: {error}") from error

    def restored(self, made: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Tensors that were made for these names -> those for the names of the file.

        A weight that has not changed gives back the very tensors that it was computed from.

        Raises:
            ConversionError: a weight has changed, and there is no way back.
        """
        found = dict(made)
        for name, computed in self._computed.items():
            if name in made:
                found |= zip(computed.parts, self._parts(computed, found.pop(name)), strict=True)
        return found

    def _parts(self, computed: Computed, weight: np.ndarray) -> list[np.ndarray]:
        parts = [self._tensors[part] for part in computed.parts]
        same = weight.dtype == self.dtypes[computed.name]
        if computed.kind is None or (same and weight.tobytes() == self[computed.name].tobytes()):
            return parts
        try:
            new = computed.kind.restore(wide(weight), *parts)
        except ConversionError as error:
            raise ConversionError(
                f"{computed.name} has changed, and {error}; leave like= out to have the weight itself"
            ) from error
        return [each.astype(part.dtype).reshape(part.shape) for each, part in zip(new, parts, strict=True)]

    def extent(self, name: str) -> Any:
        """Returns where a tensor is in its file; None where it is computed."""
        find = getattr(self._tensors, "extent", None)
        return None if find is None or name in self._computed else find(name)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


def effective(tensors: Tensors, computed: Sequence[Computed], fit: Fit) -> EffectiveTensors | None:
    """Returns the tensors with weights computed, or None where the module asks for what they are made of.

    Args:
        tensors: The state dict.
        computed: Its weights that are computed.
        fit: The fit of the state dict as it is. Where it has no problems, weights of which it asks for no
            part are left out on purpose.
    """
    used = {name for link in fit.links for name in link.tensors if name in tensors}
    chosen = [
        each
        for each in computed
        if not used.issuperset(each.parts) and (fit.problems or used.intersection(each.parts))
    ]
    return EffectiveTensors(tensors, chosen) if chosen else None


def _like(computed: Computed) -> str:
    return computed.parts[computed.kind.weight if computed.kind else 0]


def _notes(computed: Sequence[Computed]) -> Iterator[str]:
    kinds: dict[str, list[str]] = {}
    for each in computed:
        if each.kind:
            kinds.setdefault(each.kind.name, []).append(each.name)
    for kind, names in kinds.items():
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        count = "1 weight" if len(names) == 1 else f"{len(names)} weights"
        yield f"computed {count} from the parts of {kind}: {shown}; only like= gives the parts back"
