"""The layers of a model as a table of text."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import jax

from zoo._variables.quantized import is_quantized
from zoo._variables.tree import flatten, unflatten

ROOM = 40  # lines of a table whose depth nobody chose
SHOWN = 4  # arrays of a layer whose shapes are shown; of more, only their number
HEADER = ("layer", "arrays", "parameters", "dtype", "bytes")
NUMBERS = ("parameters", "bytes")  # columns on the right
INDEX = re.compile(r"_(\d+)$")  # of a layer in a list


@dataclass(frozen=True)
class Leaf:
    """Facts of an array in the table: its collection, shape, dtype and bytes."""

    collection: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


Tree: TypeAlias = Mapping[str, Any]  # of Leaf, by the names in a path


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table: a layer, or several whose arrays are equal.

    Attributes:
        path: The layer's path, with a range of indices for each list of equal layers.
        arrays: The arrays of one of them, by their paths below the layer.
        count: Number of equal layers.
    """

    path: str
    arrays: Mapping[str, Leaf]
    count: int

    @property
    def parameters(self) -> int:
        trained = (leaf for leaf in self.arrays.values() if leaf.collection == "params")
        return self.count * sum(math.prod(leaf.shape) for leaf in trained)

    @property
    def bytes(self) -> int:
        return self.count * sum(leaf.bytes for leaf in self.arrays.values())

    def texts(self) -> tuple[str, ...]:
        """Returns the texts of the columns."""
        shapes = [f"{name} {leaf.shape}" for name, leaf in self.arrays.items()]
        return (
            self.path,
            ", ".join(shapes) if len(shapes) <= SHOWN else f"{len(shapes)} arrays",
            f"{self.parameters:,}",
            ", ".join(sorted({leaf.dtype for leaf in self.arrays.values()})),
            f"{self.bytes:,}",
        )


def size(variables: Mapping[str, Any]) -> int:
    """Counts the numbers in arrays; leaves without a shape, as in jax's error messages, count as one."""
    return sum(getattr(leaf, "size", 1) for leaf in jax.tree.leaves(variables, is_leaf=is_quantized))


def dtypes(variables: Mapping[str, Any]) -> list[str]:
    """Returns the names of the arrays' dtypes, sorted."""
    return sorted({str(getattr(leaf, "dtype", "no arrays")) for leaf in jax.tree.leaves(variables)})


def table(variables: Mapping[str, Any], order: Sequence[str] = (), depth: int | None = None) -> str:
    """Returns a line for each layer, or for several of a list that are equal, and the sums.

    Args:
        variables: The model's collections.
        order: Paths of the arrays in the order of the table; others follow.
        depth: Number of names in a layer's path; by default as many as ROOM has lines for.
    """
    tree = _layers(variables, order)
    if depth is None:
        deepest = max((path.count("/") for path in flatten(tree)), default=1)
        tables = [list(_lines(tree, each)) for each in range(max(deepest, 1), 0, -1)]
        lines = next((found for found in tables if len(found) <= ROOM), tables[-1])
    else:
        lines = list(_lines(tree, depth))
    sums = (sum(line.parameters for line in lines), sum(line.bytes for line in lines))
    total = ("total", "", f"{sums[0]:,}", "", f"{sums[1]:,}")
    return _aligned([HEADER, *(line.texts() for line in lines), total])


def _layers(variables: Mapping[str, Any], order: Sequence[str]) -> Tree:
    """Returns the arrays of all collections in one tree of layers."""
    place = {path: index for index, path in enumerate(order)}
    flat = sorted(flatten(variables).items(), key=lambda item: place.get(item[0], len(place)))
    leaves: dict[str, Leaf] = {}
    for path, array in flat:
        collection, _, name = path.partition("/")
        name = f"{name} of {collection}" if name in leaves else name
        numbers = math.prod(array.shape)
        small = is_quantized(array)
        dtype, size = (array.stored, array.nbytes) if small else (array.dtype, numbers * array.dtype.itemsize)
        leaves[name] = Leaf(collection, tuple(array.shape), str(dtype), size)
    return unflatten(leaves)


def _lines(tree: Tree, depth: int, path: str = "", count: int = 1) -> Iterator[Line]:
    own = {name: child for name, child in tree.items() if isinstance(child, Leaf)}
    if own:
        yield Line(path=path, arrays=own, count=count)
    inside = {name: child for name, child in tree.items() if name not in own}
    for _, neighbors in groupby(inside.items(), key=lambda item: (INDEX.sub("_", item[0]), item[1])):
        (first, child), *others = neighbors
        name = f"{first}...{INDEX.findall(others[-1][0])[0]}" if others else first
        below, several = f"{path}/{name}" if path else name, count * (1 + len(others))
        if depth > 1:
            yield from _lines(child, depth - 1, below, several)
        else:
            yield Line(path=below, arrays=flatten(child), count=several)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            text.rjust(width) if name in NUMBERS else text.ljust(width)
            for name, text, width in zip(HEADER, row, widths, strict=True)
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
