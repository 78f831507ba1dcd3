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
    """Returns the dtype in the one form that compares and hashes by value.

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


def final_dtype(path: str, dtype: np.dtype[Any], param_dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    """Returns the dtype that an array of a file gets.

    Floating-point params get `param_dtype`, and half-precision statistics float32, as Flax keeps them: a
    batch norm computes in their dtype.
    """
    if path.startswith("batch_stats/") and jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4:
        return np.dtype(np.float32)
    return param_dtype if param_dtype is not None and is_castable(path, dtype) else dtype


def cast(path: str, array: Array, param_dtype: np.dtype[Any] | None) -> Array:
    """Casts an array to its `final_dtype`.

    Raises:
        WeightsError: a number is too large for the dtype.
    """
    dtype = final_dtype(path, array.dtype, param_dtype)
    if dtype == array.dtype:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if not np.array_equal(np.isfinite(narrow), np.isfinite(array)):
        raise WeightsError(
            f"{path} has numbers beyond {dtype}'s {jnp.finfo(dtype).max}; choose another param_dtype."
        )
    return narrow


def check_width(arrays: Mapping[str, Any]) -> None:
    """Refuses arrays that jax would narrow silently.

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
    """Returns whether `param_dtype` applies to an array."""
    return path.startswith("params/") and jnp.issubdtype(dtype, jnp.floating)


def _narrowed(dtype: np.dtype[Any]) -> bool:
    return bool(jax.dtypes.canonicalize_dtype(dtype) != dtype)
