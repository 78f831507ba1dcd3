"""Links: which arrays of a module hold the same numbers as which tensors of a state dict."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from converters.errors import ConversionError
from converters.inspection import Inspection, Lift, Path, Variable
from converters.layers import UNKNOWN_AXES, Leaf, Shape
from converters.matching.joining import stack
from converters.matching.renaming import Renaming

Names = Sequence[tuple[str, str]]
Arrays = tuple[np.ndarray, ...]
Reading = tuple[str, ...]  # what stands for each name of a module path; "" where nothing does
T = TypeVar("T")
Leaves = list[tuple[tuple[str, ...], Leaf]]
Way = tuple[tuple[int, Reading], Leaves]  # to read a layer


@dataclass(frozen=True, kw_only=True)
class Link:
    """Some arrays and the tensors they are made of; most often one of each.

    Attributes:
        settled: Whether a rule says how the axes of the tensors are.
        unsure: Whether the tensors have several axes and only the module's order speaks for theirs.
        advice: What to do where the tensors have another shape.
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


NO_OWNER = (
    "no linen layer owns it, such as one of nnx in a bridge; convert for a linen module of the same layers, "
    "and give its arrays to this one"
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
                ways = [_named_way(ways, near, rename)]
            choices = [_links(near, table, reading, rename) for reading, table in ways]
            chosen = _choose(choices, available)
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
    """What is at and below a layer, by its path from there, and what is beside it, by "../" and its path."""

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
        links = _links(near, way[1], way[0], keep)
        return len({index for _, link in links for name in link.tensors for index in rename.pairs_of(name)})

    return max(ways, key=pairs)


def _links(
    near: Mapping[str, Variable], leaves: Leaves, reading: tuple[int, Reading], rename: Renaming
) -> list[tuple[int, Link]]:
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


NUMBERED = re.compile(r"(.*?)[._]?(\d+)")


def readings(path: Path, origins: Sequence[str | None]) -> Iterator[tuple[int, Reading]]:
    """The ways to write a module path, each with its rank: a lower one is preferred.

    A name of known origin is its attribute; where that does not exist, another style of numbering
    may. Names of unknown origin have no preferred style.
    """
    options: list[list[tuple[int, str]]] = []
    for name, origin in zip(path, origins, strict=True):
        written = [name if origin is None else origin]
        number = NUMBERED.fullmatch(written[0])
        if number and origin != name and number[1]:
            styles = (f"{number[1]}.{number[2]}", f"{number[1]}_{number[2]}", f"{number[1]}{number[2]}")
            written += [style for style in styles if style not in written]
        options.append(
            [(int(origin is not None and index > 0), style) for index, style in enumerate(written)]
        )
    for combination in itertools.product(*options):
        yield sum(rank for rank, _ in combination), tuple(style for _, style in combination)


def tensor_name(
    reading: Reading, lifts: Sequence[Lift], indices: Sequence[int], leaf: str, rename: Renaming
) -> str:
    """Returns the PyTorch name of a leaf, with the indices of lifted axes in their places."""
    parts = list(reading)
    for lift, index in reversed(list(zip(lifts, indices, strict=True))):
        parts.insert(lift.depth, str(index))
    return rename(".".join(part for part in (*parts, leaf) if part))


def _link(
    arrays: Sequence[Variable], leaf: Leaf, reading: tuple[int, Reading], rename: Renaming
) -> tuple[int, Link]:
    rank, parts = reading
    lifts = arrays[0].lifts
    if len({tuple((lift.depth, lift.size) for lift in array.lifts) for array in arrays}) > 1:
        raise ConversionError(f"{arrays[0]} and the arrays that go with it are lifted differently")
    leaves = (leaf.tensors,) if isinstance(leaf.tensors, str) else leaf.tensors
    indices = list(itertools.product(*(range(lift.size) for lift in lifts)))
    tensors = tuple(tensor_name(parts, lifts, index, name, rename) for index in indices for name in leaves)
    # The inverse says which shapes the tensors must have; an array without strides costs nothing.
    blank = _tuple(leaf.to_torch(*(np.broadcast_to(np.False_, _inner(array)) for array in arrays)))
    shapes = tuple(array.shape for array in blank) * len(indices)

    def to_flax(tensors: Arrays) -> Arrays:
        count = len(leaves)
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

    return rank, Link(
        arrays=tuple(arrays),
        tensors=tensors,
        shapes=shapes,
        to_flax=to_flax,
        to_torch=to_torch,
        lossy=leaf.lossy,
        unsure=leaf.unsure and sum(size > 1 for size in _inner(arrays[0])) > 1,
        advice=leaf.advice,
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


def _choose(choices: Sequence[Sequence[tuple[int, Link]]], available: AbstractSet[str] | None) -> list[Link]:
    """One of the ways to read a layer: the first, or the one whose tensors there are.

    Raises:
        ConversionError: two ways of the same rank exist.
    """
    plain = [[link for _, link in choice] for choice in choices]
    if available is None or not plain[0]:
        return plain[0]
    ranks = [choice[0][0] for choice in choices]
    tensors = [{name for link in choice for name in link.tensors} for choice in plain]
    whole = [index for index, names in enumerate(tensors) if names <= available]
    if not whole:
        return plain[max(range(len(plain)), key=lambda index: len(tensors[index] & available))]
    best = min(whole, key=lambda index: ranks[index])
    rivals = [index for index in whole if ranks[index] == ranks[best] and not tensors[index] & tensors[best]]
    if rivals:
        names = ", ".join(sorted(min(tensors[index]) for index in (best, *rivals)))
        raise ConversionError(f"can be read in several ways that all exist: {names}; say which with names=")
    return plain[best]
