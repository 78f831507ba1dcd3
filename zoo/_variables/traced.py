"""Traces of modules, remembered in the process for the zoo's own ones.

A module of the zoo is what its fields say, and fields compare by value, so that equal modules have equal
traces. A user's module may depend on more than that, such as a global variable, and is traced each time.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import flax.linen as nn
import jax

from zoo._registry.entry import Input

T = TypeVar("T")
Trace = Callable[[nn.Module, Sequence[Input]], T]
KEPT = 16  # results of each function; those that were not asked for longest go first
PURE = ("zoo", "jax", "flax", "numpy")  # packages whose classes and functions have no state


def remembered(trace: Trace[T]) -> Trace[T]:
    """Wraps a function of a module and its inputs, whose result nobody may change."""

    # The modules' classes may ask for 64 bits, and get them or not.
    @lru_cache(maxsize=KEPT)
    def known(module: nn.Module, inputs: tuple[Input, ...], x64: bool) -> T:
        return trace(module, inputs)

    def recalled(module: nn.Module, inputs: Sequence[Input]) -> T:
        key = (module, tuple(inputs), bool(jax.config.read("jax_enable_x64")))
        return known(*key) if is_pure(module) and _hashes(key) else trace(module, inputs)

    return recalled


def is_pure(value: Any) -> bool:
    """Returns whether a module, or the value of a field, has all that its trace depends on in its fields."""
    if isinstance(value, tuple | list):
        return all(map(is_pure, value))
    if isinstance(value, Mapping):
        return all(map(is_pure, value.values()))
    if callable(value) and getattr(value, "__module__", "").partition(".")[0] not in PURE:
        return False
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (each.name for each in dataclasses.fields(value) if each.name not in ("parent", "name"))
        return all(is_pure(getattr(value, name)) for name in fields)
    return True


def _hashes(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
