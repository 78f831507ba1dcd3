"""One call of a layer, in numbers that both frameworks share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import jax
import numpy as np

from converters.matching.arrays import dtype_kind
from converters.tensors import as_numpy

Event = Callable[[Any, "Call"], None]  # told of a layer, by its path or its torch module, and its call


@dataclass(frozen=True)
class Call:
    """The arrays that went into a layer and came out of it, as NumPy in float64."""

    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]


def double(value: Any) -> Any:
    """Floating-point arrays of either framework as new NumPy arrays in float64; other arrays as NumPy."""
    array = as_numpy(value)
    return array.astype(np.float64) if dtype_kind(array.dtype) == "float" else np.array(array)


def doubles(tree: Any) -> Any:
    """`double` for each array of a nested value; what is no array stays."""
    return jax.tree.map(lambda leaf: double(leaf) if hasattr(leaf, "shape") else leaf, tree)


def arrays(value: Any) -> Iterator[np.ndarray]:
    """The arrays of whatever a layer takes or returns, in order, in float64."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        yield double(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from arrays(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays(item)
    elif is_dataclass(value):
        yield from arrays(vars(value))
