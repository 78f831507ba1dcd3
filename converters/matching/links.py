"""Links: which arrays of a module hold the same numbers as which tensors of a state dict."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from converters.errors import ConversionError
from converters.inspection import Inspection, Lift, Path, Variable
from converters.layers import UNKNOWN_AXES, Leaf, Shape
from converters.matching.joining import stack
from converters.matching.readings import Reading, readings, tensor_name
from converters.matching.renaming import Renaming

Names = Sequence[tuple[str, str]]
Arrays = tuple[np.ndarray, ...]
T = TypeVar("T")
Leaves = list[tuple[tuple[str, ...], Leaf]]
Way = tuple[tuple[int, Reading], Leaves]  # to read a layer


@dataclass(frozen=True, kw_only=True)
class Link:
    """Some arrays and the tensors they are made of; most often one of each.

    Attributes:
        settled: If true, a rule says how the axes of the tensors are ordered.
        unsure: If true, the tensors have several axes, whose order only the module's tells.
        advice: Advice for tensors of another shape.
        note: A sentence for the user of a conversion that succeeded.
    """

    arrays: tuple[Variable, ...]
    tensors: tuple[str, ...]
    shapes: tuple[Shape | None, ...]  # of the tensors; None where only the checkpoint can tell
    to_flax: Callable[[Arrays], Arrays]
    to_torch: Callable[[Arrays], Arrays]
    lossy: str = ""
    settled: bool = False
    unsure: bool = False
    advice: str = ""
    note: str = ""


NO_OWNER = (
    "no linen layer owns it, such as one of nnx in a bridge; convert into that NNX module itself, or for a "
    "linen module of the same layers, and give its arrays to this one"
)


def make_links(inspection: Inspection, names: Names, available: AbstractSet[str] | None) -> list[Link]:
    """Returns links that hold every array of the module exactly once.

    Args:
        inspection: Inspection of the module.
        names: Pairs of (regular expression, replacement), Flax to PyTorch.
        available: Names of the tensors there are. They decide where a layer can be read in several
            ways; without them the first way counts.

    Raises:
        ConversionError: an array has no counterpart in PyTorch, or two readings of a name both exist.
    """
    found: list[Link] = []
    problems: list[str] = []
    claimed: set[Variable] = set()
    below = _below(inspection.arrays)
    rename = Renaming(names)
    for path, layer in inspection.layers.items():
        # Compact modules put a wrapped layer beside its wrapper, so a row may reach to its siblings.
        near = _Near(below.get(path, {}), below.get(path[:-1], {}))
        own = {name: array for name, array in near.inside.items() if array.path[1:-1] == path}
        if own and claimed.issuperset(own.values()):
            continue
        try:
            tables = _tables(inspection, layer, near, own, claimed)
            ways = list(itertools.product(readings(path, inspection.origins(path)), tables))
            if available is None:
                way = _named_way(ways, near, rename)
            else:
                way = _available_way(ways, near, rename, available)
            chosen = _links(near, way, rename)
        except ConversionError as error:
            problems.append(f"  {'/'.join(path) or type(layer).__name__}: {error}")
            continue
        found += chosen
        claimed.update(array for link in chosen for array in link.arrays)
    rest = [array for array in inspection.arrays if array not in claimed]
    if rest and not problems:
        problems.append(f"  {', '.join(map(str, rest[:3]))}: {NO_OWNER}")
    if problems:
        raise ConversionError("\n".join(["some layers have no counterpart in PyTorch:", *problems]))
    return found


@dataclass(frozen=True)
class _Near(Mapping[str, T]):
    """Arrays at and below a layer, by their paths from there; those of its siblings, by "../" and theirs."""

    inside: Mapping[str, T]
    parent: Mapping[str, T]

    def __getitem__(self, name: str) -> T:
        return self.parent[name[3:]] if name.startswith("../") else self.inside[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.inside
        yield from (f"../{name}" for name in self.parent)

    def __len__(self) -> int:
        return len(self.inside) + len(self.parent)


@dataclass(frozen=True)
class _Shapes(Mapping[str, Shape]):
    """Shapes of arrays as the layer itself sees them, found when asked for: most rows ask for a few."""

    arrays: Mapping[str, Variable]

    def __getitem__(self, name: str) -> Shape:
        return _inner(self.arrays[name])

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def _below(arrays: Iterable[Variable]) -> Mapping[Path, Mapping[str, Variable]]:
    """Returns the arrays at and below each module, by their paths from there."""
    found: dict[Path, dict[str, Variable]] = {}
    for array in arrays:
        for depth in range(1, len(array.path)):
            found.setdefault(array.path[1:depth], {})["/".join(array.path[depth:])] = array
    return found


def _tables(
    inspection: Inspection,
    layer: Any,
    near: _Near[Variable],
    own: Mapping[str, Variable],
    claimed: AbstractSet[Variable],
) -> list[Leaves]:
    """Returns the leaves of a layer, once for each way in which files keep it, the preferred one first."""
    shapes = _Shapes(near)
    rows = [_leaves(row, near, claimed) for row in inspection.rows(layer, shapes) or [{}]]
    known = {key for keys, _ in rows[0] for key in keys}
    plain = _plain(layer, {name: array for name, array in own.items() if name not in known}, claimed)
    return [[*row, *plain] for row in rows]


def _named_way(ways: Sequence[Way], near: Mapping[str, Variable], rename: Renaming) -> Way:
    """Returns the way to read a layer that the most names pairs are about; the first of several."""
    if len(ways) == 1:
        return ways[0]
    keep = Renaming(())

    def pairs(way: Way) -> int:
        return len({index for name in _tensors(near, way, keep) for index in rename.pairs_of(name)})

    return max(ways, key=pairs)


def _available_way(
    ways: Sequence[Way], near: Mapping[str, Variable], rename: Renaming, available: AbstractSet[str]
) -> Way:
    """Returns the way to read a layer whose tensors there are, else the one of which there are most.

    Raises:
        ConversionError: two ways of the same rank exist.
    """
    if not ways[0][1]:
        return ways[0]
    ranks = [rank for (rank, _), _ in ways]
    tensors = [set(_tensors(near, way, rename)) for way in ways]
    whole = [index for index, names in enumerate(tensors) if names <= available]
    if not whole:
        return ways[max(range(len(ways)), key=lambda index: len(tensors[index] & available))]
    best = min(whole, key=lambda index: ranks[index])
    rivals = [index for index in whole if ranks[index] == ranks[best] and not tensors[index] & tensors[best]]
    if rivals:
        names = ", ".join(sorted(min(tensors[index]) for index in (best, *rivals)))
        raise ConversionError(f"can be read in several ways that all exist: {names}; say which with names=")
    return ways[best]


def _tensors(near: Mapping[str, Variable], way: Way, rename: Renaming) -> Iterator[str]:
    """Yields the names of a layer's tensors."""
    (_, reading), leaves = way
    for keys, leaf in leaves:
        yield from _names(near[keys[0]].lifts, leaf, reading, rename)


def _links(near: Mapping[str, Variable], way: Way, rename: Renaming) -> list[Link]:
    (_, reading), leaves = way
    return [_link([near[key] for key in keys], leaf, reading, rename) for keys, leaf in leaves]


def in_order(links: Sequence[Link]) -> Iterator[str]:
    """The names of all tensors; those of a lifted layer block by block, as a list of layers has them."""
    for lifted, run in itertools.groupby(links, _lifted):
        blocks, each = lifted[1] if lifted else 1, [link.tensors for link in run]
        for block in range(blocks):
            for names in each:
                yield from names[block * len(names) // blocks : (block + 1) * len(names) // blocks]


def _lifted(link: Link) -> tuple[Path, int] | None:
    """The outermost lifted layer in which a link's arrays are, and its size."""
    array = link.arrays[0]
    return (array.path[1 : array.lifts[0].depth + 1], array.lifts[0].size) if array.lifts else None


def _inner(array: Variable) -> Shape:
    """The shape as the layer itself sees it, without lifted axes."""
    shape = list(array.shape)
    for lift in array.lifts:
        shape.pop(lift.axis)
    return tuple(shape)


def _leaves(row: Mapping[Any, Leaf], near: Mapping[str, Variable], claimed: AbstractSet[Variable]) -> Leaves:
    """The part of a row whose arrays the layer has: one without a bias has no array for it."""
    leaves: Leaves = []
    for key, leaf in row.items():
        keys = (key,) if isinstance(key, str) else key
        present = [name in near for name in keys]
        if any(present) and not all(present):
            missing = ", ".join(name for name in keys if name not in near)
            raise ConversionError(f"its row joins arrays of which it lacks {missing}")
        if all(present) and not any(near[name] in claimed for name in keys):
            leaves.append((keys, leaf))
    return leaves


def _plain(layer: Any, own: Mapping[str, Variable], claimed: AbstractSet[Variable]) -> Leaves:
    """Arrays that no row mentions keep name and axes, where there is no doubt about either."""
    leaves: Leaves = []
    kind = type(layer)
    for name, array in own.items():
        if array in claimed:
            continue
        hint = f"give {kind.__name__} a class attribute `torch_row` that says where {name!r} is kept"
        if kind.__module__.startswith("flax."):
            raise ConversionError(
                f"converters.layers has no row for flax's {kind.__name__}, which owns {name!r}"
            )
        if name in UNKNOWN_AXES:
            raise ConversionError(f"nobody knows the order of the axes of {name!r} {_inner(array)}; {hint}")
        leaves.append(((name,), Leaf(name, unsure=True)))
    return leaves


def _names(lifts: Sequence[Lift], leaf: Leaf, reading: Reading, rename: Renaming) -> tuple[str, ...]:
    """Returns the names of a leaf's tensors, all of them for each index of the lifted axes."""
    leaves = (leaf.tensors,) if isinstance(leaf.tensors, str) else leaf.tensors
    return tuple(
        tensor_name(reading, lifts, index, name, rename) for index in _indices(lifts) for name in leaves
    )


def _indices(lifts: Sequence[Lift]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(lift.size) for lift in lifts))


def _link(arrays: Sequence[Variable], leaf: Leaf, reading: Reading, rename: Renaming) -> Link:
    lifts = arrays[0].lifts
    if len({tuple((lift.depth, lift.size) for lift in array.lifts) for array in arrays}) > 1:
        raise ConversionError(f"{arrays[0]} and the arrays that go with it are lifted differently")
    tensors = _names(lifts, leaf, reading, rename)
    indices = list(_indices(lifts))
    count = len(tensors) // len(indices)
    # The inverse says which shapes the tensors must have; an array without strides costs nothing.
    blank = _tuple(leaf.to_torch(*(np.broadcast_to(np.False_, _inner(array)) for array in arrays)))
    shapes = tuple(array.shape for array in blank) * len(indices)

    def to_flax(tensors: Arrays) -> Arrays:
        made = [_tuple(leaf.to_flax(*tensors[i : i + count])) for i in range(0, len(tensors), count)]
        return tuple(
            _stack(parts, array.lifts) for parts, array in zip(zip(*made, strict=True), arrays, strict=True)
        )

    def to_torch(values: Arrays) -> Arrays:
        each = (
            _tuple(leaf.to_torch(*(_take(v, a.lifts, index) for v, a in zip(values, arrays, strict=True))))
            for index in indices
        )
        return tuple(itertools.chain.from_iterable(each))

    return Link(
        arrays=tuple(arrays),
        tensors=tensors,
        shapes=shapes,
        to_flax=to_flax,
        to_torch=to_torch,
        lossy=leaf.lossy,
        unsure=leaf.unsure and sum(size > 1 for size in _inner(arrays[0])) > 1,
        advice=leaf.advice,
        note=leaf.note,
    )


def _tuple(value: Any) -> Arrays:
    return value if isinstance(value, tuple) else (value,)


def _stack(parts: Sequence[np.ndarray], lifts: Sequence[Lift]) -> np.ndarray:
    if not lifts:
        return parts[0]
    size = len(parts) // lifts[0].size
    chunks = [_stack(parts[i : i + size], lifts[1:]) for i in range(0, len(parts), size)]
    return stack(chunks, lifts[0].axis)


def _take(array: np.ndarray, lifts: Sequence[Lift], indices: Sequence[int]) -> np.ndarray:
    for lift, index in zip(lifts, indices, strict=True):
        array = np.moveaxis(array, lift.axis, 0)[index]
    return array
