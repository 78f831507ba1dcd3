"""Checks of indices, where their values are known: in a compiled program they are not."""

import jax
import numpy as np
from jax.typing import ArrayLike

from zoo._errors import ZooError


def known(values: ArrayLike) -> np.ndarray | None:
    """Returns the numbers; None where they are not known yet, or not on this process's devices alone.

    Raises:
        ValueError: they are lists of several lengths.
    """
    if isinstance(values, jax.core.Tracer):
        return None
    if isinstance(values, jax.Array) and not values.is_fully_addressable:
        return None
    return np.asarray(values)


def check_range(values: np.ndarray | None, count: int, name: str, expected: str) -> None:
    """Checks that known indices are of `count` things; compiled programs have no operation more for it.

    Raises:
        ZooError: one is not, which is named with its place.
    """
    if values is None or not values.size or 0 <= values.min() <= values.max() < count:
        return
    place = tuple(np.argwhere((values < 0) | (values >= count))[0])
    at = f"[{', '.join(map(str, place))}]" if place else ""
    raise ZooError(f"{name}{at} is {values[place]}; {expected}")
