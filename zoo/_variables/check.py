"""Arrays against the shapes and kinds of dtype that a module has."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zoo._errors import WeightsError

KINDS = (jnp.floating, jnp.signedinteger, jnp.unsignedinteger, jnp.bool_, jnp.complexfloating)


def check_fit(arrays: Mapping[str, Any], shapes: Mapping[str, jax.ShapeDtypeStruct], module: object) -> None:
    """Compares names, shapes and kinds of dtype.

    Raises:
        WeightsError: any of them differs; every difference is listed.
    """
    problems = [*differences(arrays, shapes)]
    if problems:
        lines = "".join(f"\n  {line}" for line in problems)
        raise WeightsError(f"the weights do not fit {type(module).__name__}:{lines}")


def differences(arrays: Mapping[str, Any], shapes: Mapping[str, jax.ShapeDtypeStruct]) -> Iterator[str]:
    """Yields a line for each array that is missing, misshapen, of another kind or left over."""
    yield from (f"missing    {path}" for path in shapes if path not in arrays)
    for path, expected in shapes.items():
        found = arrays.get(path)
        if found is None:
            continue
        if found.shape != expected.shape:
            yield f"misshapen  {path}: {found.shape} for {expected.shape}"
        if _kind(found.dtype) != _kind(expected.dtype):
            yield f"wrong kind {path}: {found.dtype} for {expected.dtype}"
    yield from (f"left over  {path}" for path in arrays if path not in shapes)


def _kind(dtype: np.dtype[Any]) -> object:
    return next((kind for kind in KINDS if jnp.issubdtype(dtype, kind)), dtype)
