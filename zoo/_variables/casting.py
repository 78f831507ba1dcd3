"""Dtypes: floating-point params cast to the one that is asked for, and nothing narrowed silently."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import WeightsError, ZooError

Array: TypeAlias = np.ndarray[Any, Any]


def float_dtype(keyword: str, dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype in the one form that compares and hashes by value.

    Raises:
        ZooError: it is no floating-point dtype, or one that jax would narrow.
    """
    try:
        found = jnp.dtype(dtype)
    except TypeError as error:
        raise ZooError(f"{keyword}={dtype!r} is no dtype; give one such as 'bfloat16'.") from error
    if not jnp.issubdtype(found, jnp.floating):
        raise ZooError(f"{keyword}={found} is not a floating-point dtype; give one such as 'bfloat16'.")
    if _narrowed(found):
        raise ZooError(f"{keyword}={found} needs jax.config.update('jax_enable_x64', True).")
    return found


def cast(path: str, array: Array, dtype: np.dtype[Any] | None) -> Array:
    """Floating-point params in another dtype; everything else as it is.

    Raises:
        WeightsError: a number is too large for the dtype.
    """
    if dtype is None or dtype == array.dtype or not is_castable(path, array.dtype):
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if not np.array_equal(np.isfinite(narrow), np.isfinite(array)):
        raise WeightsError(
            f"{path} has numbers beyond {dtype}'s {jnp.finfo(dtype).max}; choose another param_dtype."
        )
    return narrow


def widened(path: str, array: Array) -> Array:
    """Half precision statistics in float32, as Flax keeps them; a batch norm computes in their dtype."""
    half = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if half and path.startswith("batch_stats/") else array


def check_width(arrays: Mapping[str, Any]) -> None:
    """Refuses what jax would narrow silently.

    Raises:
        WeightsError: 64-bit arrays while jax has 64 bits switched off.
    """
    wide = [f"{path}: {array.dtype}" for path, array in arrays.items() if _narrowed(array.dtype)]
    if wide:
        lines = "".join(f"\n  {line}" for line in wide)
        raise WeightsError(
            "these arrays need jax.config.update('jax_enable_x64', True), "
            f"or for floating-point params a param_dtype=:{lines}"
        )


def is_castable(path: str, dtype: np.dtype[Any]) -> bool:
    return path.startswith("params/") and jnp.issubdtype(dtype, jnp.floating)


def _narrowed(dtype: np.dtype[Any]) -> bool:
    return bool(jax.dtypes.canonicalize_dtype(dtype) != dtype)
