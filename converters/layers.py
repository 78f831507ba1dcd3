"""Rows of the table: which PyTorch tensors hold a Flax layer's arrays, and how their axes differ.

A row maps the names of a layer's arrays to a `Leaf`: the names of the tensors and a function each way.
A row that depends on the layer's settings is a function of the layer and the shapes of its arrays; it may
return several rows, for files that keep one layer in several ways. Names are relative to the layer; an
array of a layer inside it is named with a slash, and belongs to the outer layer's row.

A layer class of your own can carry its row as the class attribute `torch_row`. A subclass inherits its
parent's row.
"""

import math
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Shape = tuple[int, ...]


def _same(*arrays: Any) -> Any:
    return arrays[0]


@dataclass(frozen=True)
class Leaf:
    """Where PyTorch keeps one array, or several that are kept together.

    Attributes:
        tensors: the names of the tensors, relative to the layer; "" is the layer's own name.
        to_flax: the tensors -> the array, or a tuple where there are several.
        to_torch: the inverse.
        lossy: what `to_flax` cannot give back, in words; empty where it is exact.
        unsure: whether nothing is known about the order of axes that PyTorch has; it is taken to be Flax's.
        advice: what to do where the tensor has another shape.
        note: what the numbers do not say, for the user of a conversion that succeeded.
    """

    tensors: str | tuple[str, ...]
    to_flax: Callable[..., Any] = _same
    to_torch: Callable[..., Any] = _same
    lossy: str = ""
    unsure: bool = False
    advice: str = ""
    note: str = ""


Row = Mapping[str | tuple[str, ...], Leaf]
Named = dict[str | tuple[str, ...], Leaf]  # a row while it is put together
RowFunction = Callable[[Any, Mapping[str, Shape]], Row | Sequence[Row]]


def kernel(weight: np.ndarray) -> np.ndarray:
    """(out, in, *spatial) -> (*spatial, in, out); Dense has no spatial axes."""
    return np.moveaxis(weight, (0, 1), (-1, -2))


def weight(kernel: np.ndarray) -> np.ndarray:
    """(*spatial, in, out) -> (out, in, *spatial)."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def flipped(array: np.ndarray, first: int) -> np.ndarray:
    """Reverses the spatial axes, of which `first` is the first."""
    return np.flip(array, tuple(range(first, first + array.ndim - 2)))


KERNEL = Leaf("weight", kernel, weight)
AFFINE: Row = {"scale": Leaf("weight"), "bias": Leaf("bias")}


def projection(name: str, shape: Shape, inputs: int) -> Leaf:
    """A kernel of several input and output axes, which PyTorch keeps flat as (out, in)."""
    flat = math.prod(shape[:inputs])
    return Leaf(name, lambda weight: weight.T.reshape(shape), lambda kernel: kernel.reshape(flat, -1).T)


def flat(name: str, shape: Shape) -> Leaf:
    """An array of several axes, which PyTorch keeps as a vector."""
    return Leaf(name, lambda tensor: tensor.reshape(shape), lambda array: array.reshape(-1))


def gates(name: str, arrays: Sequence[str]) -> tuple[tuple[str, ...], Leaf]:
    """Kernels of a recurrent cell, one for each gate, which PyTorch stacks along the outputs."""
    return tuple(f"{array}/kernel" for array in arrays), Leaf(
        name,
        lambda weight: tuple(part.T for part in np.split(weight, len(arrays))),
        lambda *kernels: np.concatenate([kernel.T for kernel in kernels]),
    )


TWO_BIASES = "PyTorch adds two biases; Flax keeps their sum"
BIASES = ("bias_ih", "bias_hh")


def halves(bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two biases for a sum of both: all of it, and zeros."""
    return bias, np.zeros_like(bias)


def prefixed(row: Row, array: str, suffix: str = "") -> Row:
    """The row of a layer inside another, whose path goes before the arrays' names.

    A compact module has a wrapped layer beside its wrapper, which may be wrapped itself: of
    "../RNN_0/../Cell_0/kernel" the array is "../Cell_0/kernel".
    """

    def names(value: str | tuple[str, ...], before: str, after: str) -> str | tuple[str, ...]:
        return before + value + after if isinstance(value, str) else tuple(before + v + after for v in value)

    def paths(key: str | tuple[str, ...]) -> str | tuple[str, ...]:
        full = names(key, array + "/", "")
        return posixpath.normpath(full) if isinstance(full, str) else tuple(map(posixpath.normpath, full))

    return {paths(key): replace(leaf, tensors=names(leaf.tensors, "", suffix)) for key, leaf in row.items()}


# Names that Flax gives to arrays whose axes PyTorch orders differently; without a row nobody knows how.
UNKNOWN_AXES = ("kernel", "embedding")
