"""Checks before a model is saved: its variables are those of its module, and finite."""

import logging
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zoo._errors import WeightsError
from zoo._registry.entry import Entry
from zoo._variables import init
from zoo._variables.check import differences

_log = logging.getLogger("zoo")


def check_leaves(flat: Mapping[str, Any]) -> None:
    """Checks that variables are arrays of numbers.

    Raises:
        WeightsError: some are none.
    """
    # Random keys have dtypes of jax's own, and Python's numbers none.
    wrong = {path: leaf for path, leaf in flat.items() if not isinstance(getattr(leaf, "dtype", 0), np.dtype)}
    if wrong or not flat:
        lines = "".join(
            f"\n  {path}: {getattr(leaf, 'dtype', type(leaf).__name__)}" for path, leaf in wrong.items()
        )
        raise WeightsError(f"a file holds arrays of numbers, found:{lines or ' none'}")


def check_module(flat: Mapping[str, Any], module: nn.Module, entry: Entry) -> None:
    """Checks that a module has these variables, where its inputs are known: else they could not be loaded.

    Raises:
        WeightsError: it has others.
    """
    if not entry.inputs:
        return
    try:
        shapes = init.shapes(module, entry.inputs)
    except Exception:  # a module of one's own may need more for a call than its inputs
        return
    problems = [*differences(flat, shapes)]
    if problems:
        first, more = " ".join(problems[0].split()), len(problems) - 1
        bare = set(flat) == {path.partition("/")[2] for path in shapes if path.startswith("params/")}
        advice = (
            "these are its params alone: variables={'params': ...}" if bare else "init gives those it has"
        )
        others = f", and {more} more problem{'s' if more > 1 else ''}" if more else ""
        raise WeightsError(
            f"the variables are not those of this {type(module).__name__}: {first}{others}; {advice}."
        )


def note_nonfinite(flat: Mapping[str, Any], name: str) -> None:
    """Logs which arrays hold NaN or infinity: they may be what somebody wants to look into."""
    wrong = [path for path, leaf in flat.items() if _is_here(leaf) and not _is_finite(np.asarray(leaf))]
    if wrong:
        more = f" and {len(wrong) - 1} more of {len(flat)} arrays" if len(wrong) > 1 else ""
        _log.warning("%s is saved with NaN or infinity in %s%s", name, wrong[0], more)


def _is_here(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _is_finite(array: np.ndarray) -> bool:
    return not jnp.issubdtype(array.dtype, jnp.inexact) or bool(np.isfinite(array).all())
