"""Arrays put together: a view where they lie side by side in memory already, a new array elsewhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided


def concatenate(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """`np.concatenate` of arrays that differ in the size of that axis only."""
    axis %= parts[0].ndim
    steps = [part.shape[axis] * part.strides[axis] for part in parts]
    if not _side_by_side(parts, steps, axis):
        return np.concatenate(parts, axis)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return as_strided(parts[0], shape, parts[0].strides)


def stack(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """`np.stack` of arrays of one shape."""
    step = _address(parts[1]) - _address(parts[0]) if len(parts) > 1 else 0
    if not _side_by_side(parts, [step] * len(parts), None):
        return np.stack(parts, axis)
    first = parts[0]
    return np.moveaxis(as_strided(first, (len(parts), *first.shape), (step, *first.strides)), 0, axis)


def _side_by_side(parts: Sequence[np.ndarray], steps: Sequence[int], axis: int | None) -> bool:
    """Returns whether the arrays share memory, with so many bytes from each one's start to the next's."""
    first = parts[0]
    at = _address(first)
    for part, step in zip(parts, steps, strict=True):
        same = (part.dtype, part.strides) == (first.dtype, first.strides)
        if not same or not part.size or _owner(part) is not _owner(first) or _address(part) != at:
            return False
        if any(a != b for i, (a, b) in enumerate(zip(part.shape, first.shape, strict=True)) if i != axis):
            return False
        at += step
    return len(parts) > 1


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _owner(array: Any) -> Any:
    # Between an array of strides of one's own and what it is of, NumPy has an object that is no array.
    while getattr(array, "base", None) is not None:
        array = array.base
    return array
