"""Checks and changes of single arrays: kinds, casts, copies, finiteness; and mappings of them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from converters.errors import ConversionError
from converters.io import writing


def dtype_kind(dtype: Any) -> str:
    """ "float", "int", "bool" or "complex": a tensor must be of its array's kind."""
    for name, parent in (
        ("float", jnp.floating),
        ("int", jnp.integer),
        ("bool", jnp.bool_),
        ("complex", jnp.complexfloating),
    ):
        if jnp.issubdtype(dtype, parent):
            return name
    return str(dtype)


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array in C order, copied where it is not. Never a read-only view."""
    ordered = writing.contiguous(array)
    return ordered if ordered.flags.writeable else ordered.copy()


def cast_floats(array: np.ndarray, dtype: np.dtype[Any] | None, name: str) -> np.ndarray:
    """Casts a floating-point array; other kinds stay as they are.

    Raises:
        ConversionError: a finite value is too large for the dtype.
    """
    if dtype is None or array.dtype == dtype or dtype_kind(array.dtype) != "float":
        return array
    with np.errstate(over="ignore"):
        made = array.astype(dtype)
    lost = nonfinite(made) - nonfinite(array)
    if lost:
        raise ConversionError(f"{lost} values of {name} do not fit {dtype}; keep {array.dtype}")
    return made


def nonfinite(array: np.ndarray) -> int:
    """Counts the values that are NaN or infinite."""
    if dtype_kind(array.dtype) not in ("float", "complex"):
        return 0
    # A sum is one pass without a temporary; only where it overflowed or met NaN is the count worth its cost.
    if array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(array.sum()):
                return 0
    return int(array.size - np.count_nonzero(np.isfinite(array)))
