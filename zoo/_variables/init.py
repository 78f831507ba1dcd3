"""Shapes of a module's arrays, and their initialization where they will be."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from converters.linen import shapes_only
from zoo._registry.entry import Input
from zoo._variables.casting import is_castable
from zoo._variables.sharding import Placement, placed
from zoo._variables.traced import remembered
from zoo._variables.tree import flatten


def shapes(module: nn.Module, inputs: Sequence[Input]) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns path -> shape and dtype of all arrays of the module; computes none of them."""
    return dict(_shapes(module, inputs))


@remembered
def _shapes(module: nn.Module, inputs: Sequence[Input]) -> dict[str, jax.ShapeDtypeStruct]:
    paths: list[str] = []

    def init() -> list[jax.Array]:
        with shapes_only():
            flat = _init(module, inputs, jax.random.key(0))
        paths.extend(flat)  # in the order of the calls, which jax's own dictionaries lose
        return list(flat.values())

    return dict(zip(paths, jax.eval_shape(init), strict=True))


def initialize(
    module: nn.Module,
    inputs: tuple[Input, ...],
    seed: int,
    param_dtype: np.dtype[Any] | None,
    sharding: Placement | None,
    present: AbstractSet[str] = frozenset(),
) -> dict[str, jax.Array]:
    """Initializes the arrays that are not present, by path, on the devices where they will be."""
    leaves = {path: leaf for path, leaf in shapes(module, inputs).items() if path not in present}
    if not leaves:
        return {}
    places = (
        tuple(placed(path, leaf, sharding) for path, leaf in leaves.items()) if sharding is not None else None
    )
    try:
        init = _compiled_init(module, inputs, tuple(leaves), param_dtype, places)
    except TypeError:  # a field of the module does not hash; a cache is all that it misses
        init = _compiled_init.__wrapped__(module, inputs, tuple(leaves), param_dtype, places)
    return dict(zip(leaves, init(jax.random.key(seed)), strict=True))


def constants(
    module: nn.Module, inputs: tuple[Input, ...], paths: AbstractSet[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the initial values of arrays that are the same for each seed."""
    if not paths:
        return {}
    others = shapes(module, inputs).keys() - paths
    made = initialize(module, inputs, 0, None, None, others)
    return {path: np.asarray(array) for path, array in made.items()}


@lru_cache(maxsize=8)
def _compiled_init(
    module: nn.Module,
    inputs: tuple[Input, ...],
    paths: tuple[str, ...],
    param_dtype: np.dtype[Any] | None,
    places: tuple[Sharding | None, ...] | None,
) -> Callable[[jax.Array], list[jax.Array]]:
    """Compiles the initialization, which takes a second; another seed of an equal module reuses it."""

    def init(key: jax.Array) -> list[jax.Array]:
        made = _init(module, inputs, key)  # what is not in `paths` is not computed
        castable = {path for path in paths if param_dtype and is_castable(path, made[path].dtype)}
        return [made[path].astype(param_dtype) if path in castable else made[path] for path in paths]

    return jax.jit(init, out_shardings=None if places is None else list(places))


def _init(module: nn.Module, inputs: Sequence[Input], key: jax.Array) -> dict[str, Any]:
    # One key: a stream that has none of its own, such as "noise", is drawn from the params' stream.
    flat = flatten(module.init(key, *(jnp.zeros(each.shape, each.dtype) for each in inputs)))
    # nn.unbox would sort the paths.
    return {
        path: leaf.unbox() if isinstance(leaf, nn.meta.AxisMetadata) else leaf for path, leaf in flat.items()
    }
