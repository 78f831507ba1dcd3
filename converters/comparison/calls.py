"""One call of a layer, in numbers that both frameworks share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import jax
import numpy as np

from converters.matching.arrays import dtype_kind
from converters.tensors import as_numpy

Event = Callable[[Any, "Call"], None]  # told of a layer, by its path or its torch module, and its call


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a layer.

    Attributes:
        inputs: Its first array, as NumPy in float64.
        outputs: Its arrays in PyTorch's order, as NumPy in float64.
        taken: PyTorch's own tensors of the inputs, which know how they were computed.
        given: The same of the outputs.
    """

    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]
    taken: Sequence[Any] = ()
    given: Sequence[Any] = ()


def double(value: Any) -> Any:
    """Returns a floating-point array of either framework as a new one in float64, others as NumPy."""
    array = as_numpy(value)
    return array.astype(np.float64) if dtype_kind(array.dtype) == "float" else np.array(array)


def doubles(tree: Any) -> Any:
    """Applies `double` to each array of a nested value; what is no array stays."""
    return jax.tree.map(lambda leaf: double(leaf) if hasattr(leaf, "shape") else leaf, tree)


def leaves(value: Any) -> Iterator[Any]:
    """Yields the arrays of whatever a layer takes or returns, in order."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    elif is_dataclass(value):
        yield from leaves(vars(value))
