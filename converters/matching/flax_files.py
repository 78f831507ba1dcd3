"""Arrays of Flax from other people's files, for those of a module: by their paths, or else as tensors."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from converters.formats.flax_names import torch_leaf
from converters.inspection import Inspection, Path, Variable
from converters.matching.fit import Fit, fit_links
from converters.matching.links import Arrays, Link
from converters.tensors import Tensors, aliases_of, notes_of

HEADS = ("query", "key", "value")  # projections of MultiHeadDotProductAttention, (width, heads, head width)
OUT = "out"  # (heads, head width, width)


class Renamed:
    """Tensors under other names."""

    def __init__(self, tensors: Tensors, names: dict[str, str]) -> None:
        self._tensors, self._names = tensors, names
        self.notes = notes_of(tensors)
        self.shapes = {name: tensors.shapes[own] for name, own in names.items()}
        self.dtypes = {name: tensors.dtypes[own] for name, own in names.items()}
        aliases, first = aliases_of(tensors), dict[str, str]()
        owners = {name: first.setdefault(aliases.get(own, own), name) for name, own in names.items()}
        self.aliases = {name: owner for name, owner in owners.items() if name != owner}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[self._names[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class AsTorch(Renamed):
    """Arrays of Flax with PyTorch's names of arrays and orders of axes, by the rules of Flax's own layers."""

    def __init__(self, tensors: Tensors) -> None:
        names = {torch_leaf(".".join(name.split("/")[1:])): name for name in tensors}
        super().__init__(tensors, names)
        self.shapes = {name: _shape(own, self.shapes[name]) for name, own in names.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return _turned(self._names[name], super().__getitem__(name))


def fit_variables(
    inspection: Inspection, tensors: Tensors, ignore: Sequence[str], missing: Sequence[str]
) -> Fit:
    """Returns the fit of arrays to those of a module that have their paths.

    Lists may be dotted (`layers/0`, as in NNX) or not (`layers_0`), and collections that a file does not tell
    are the module's.
    """
    paths = {_plain(array.path): str(array) for array in inspection.arrays}
    there = {str(array) for array in inspection.arrays}
    names: dict[str, str] = {}
    for name in tensors:
        own = name if name in there else paths.get(_plain(tuple(name.split("/"))), name)
        names[name if own in names else own] = name
    links = [_link(array) for array in inspection.arrays]
    return fit_links(links, Renamed(tensors, names), "", ignore, missing)


def _plain(path: Path) -> str:
    """Returns a path without its collection, and with the numbers of lists as parts of names."""
    found = ""
    for part in path[1:]:
        found += f"_{part}" if part.isdecimal() else f"/{part}"
    return found


def _link(array: Variable) -> Link:
    return Link(arrays=(array,), tensors=(str(array),), shapes=(array.shape,), to_flax=_same, to_torch=_same)


def _same(arrays: Arrays) -> Arrays:
    return arrays


def _turned(path: str, array: np.ndarray) -> np.ndarray:
    """Returns an array as PyTorch's layer has it: (out, in, *spatial), heads side by side."""
    merged = array.reshape(_merged(path, array.shape))
    return np.moveaxis(merged, (-1, -2), (0, 1)) if _is_kernel(path, merged.shape) else merged


def _shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    merged = _merged(path, shape)
    return (*merged[:-3:-1], *merged[:-2]) if _is_kernel(path, merged) else merged


def _is_kernel(path: str, shape: tuple[int, ...]) -> bool:
    return path.endswith("/kernel") and len(shape) > 1


def _merged(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape with an attention's heads side by side."""
    layer, leaf = path.split("/")[-2:]
    if layer in HEADS and len(shape) == (3 if leaf == "kernel" else 2):
        return (*shape[:-2], math.prod(shape[-2:]))
    return (math.prod(shape[:2]), shape[2]) if (layer, leaf, len(shape)) == (OUT, "kernel", 3) else shape
