"""What a module's arrays must be, and how they come to be: compared, cast, initialised, placed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding
from jax.typing import DTypeLike

from zoo._errors import WeightsError, ZooError
from zoo._model import flatten
from zoo._registry.entry import Input

Array: TypeAlias = np.ndarray[Any, Any]
Placement: TypeAlias = Sharding | Callable[[str, jax.ShapeDtypeStruct], Sharding]
KINDS = (jnp.floating, jnp.signedinteger, jnp.unsignedinteger, jnp.bool_, jnp.complexfloating)


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


def shapes(module: nn.Module, inputs: Sequence[Input]) -> dict[str, jax.ShapeDtypeStruct]:
    """Path -> shape and dtype of all that the module owns; no arithmetic, no random numbers."""
    paths: list[str] = []

    def init() -> list[jax.Array]:
        flat = _init(module, inputs, jax.random.key(0))
        paths.extend(flat)  # in the order of the calls, which jax's own dictionaries lose
        return list(flat.values())

    return dict(zip(paths, jax.eval_shape(init), strict=True))


def initialise(
    module: nn.Module,
    inputs: tuple[Input, ...],
    seed: int,
    param_dtype: np.dtype[Any] | None,
    sharding: Placement | None,
    present: AbstractSet[str] = frozenset(),
) -> dict[str, jax.Array]:
    """Path -> array but for those present, by the module's own initialisers; computed where it will be."""
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


@lru_cache(maxsize=8)
def _compiled_init(
    module: nn.Module,
    inputs: tuple[Input, ...],
    paths: tuple[str, ...],
    param_dtype: np.dtype[Any] | None,
    places: tuple[Sharding | None, ...] | None,
) -> Callable[[jax.Array], list[jax.Array]]:
    """Compiling takes a second, drawing next to nothing: other seeds of an equal module come for free."""

    def init(key: jax.Array) -> list[jax.Array]:
        made = _init(module, inputs, key)  # what is not in `paths` is not computed
        castable = {path for path in paths if param_dtype and _is_castable(path, made[path].dtype)}
        return [made[path].astype(param_dtype) if path in castable else made[path] for path in paths]

    return jax.jit(init, out_shardings=None if places is None else list(places))


def _init(module: nn.Module, inputs: Sequence[Input], key: jax.Array) -> dict[str, Any]:
    # One key: a stream that has none of its own, such as "noise", is drawn from the params' stream.
    flat = flatten(module.init(key, *(jnp.zeros(each.shape, each.dtype) for each in inputs)))
    # nn.unbox would sort the paths.
    return {
        path: leaf.unbox() if isinstance(leaf, nn.meta.AxisMetadata) else leaf for path, leaf in flat.items()
    }


def check_fit(
    arrays: Mapping[str, Any], shapes: Mapping[str, jax.ShapeDtypeStruct], module: nn.Module
) -> None:
    """Compares names, shapes and kinds of dtype.

    Raises:
        WeightsError: any of them differs; every difference is listed.
    """
    problems = [*differences(arrays, shapes)]
    if problems:
        lines = "".join(f"\n  {line}" for line in problems)
        raise WeightsError(f"the weights do not fit {type(module).__name__}:{lines}")


def differences(arrays: Mapping[str, Any], shapes: Mapping[str, jax.ShapeDtypeStruct]) -> Iterator[str]:
    """What is missing, misshapen, of another kind or left over, a line each."""
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


def cast(path: str, array: Array, dtype: np.dtype[Any] | None) -> Array:
    """Floating-point params in another dtype; everything else as it is.

    Raises:
        WeightsError: a number is too large for the dtype.
    """
    if dtype is None or dtype == array.dtype or not _is_castable(path, array.dtype):
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


def placed(path: str, leaf: jax.ShapeDtypeStruct, sharding: Placement | None) -> Sharding | None:
    """Where the array of that path and shape goes.

    Raises:
        ZooError: `sharding` gave no Sharding, or one that does not divide the shape.
    """
    place = sharding(path, leaf) if callable(sharding) else sharding
    if sharding is not None and not isinstance(place, Sharding):
        raise ZooError(f"sharding= gave {place!r} for {path}; expected a jax.sharding.Sharding.")
    try:
        if place is not None:
            place.shard_shape(leaf.shape)
    except (ValueError, IndexError) as error:  # sizes that do not divide, more axes than there are
        raise ZooError(f"sharding= does not fit {path} {leaf.shape}: {error}") from error
    return place


def put(path: str, array: Array, sharding: Placement | None) -> jax.Array:
    """The array on its devices; on a CPU it shares the memory where that is 64-byte-aligned."""
    place = placed(path, jax.ShapeDtypeStruct(array.shape, array.dtype), sharding)
    arranged: jax.Array = jax.device_put(array, place)
    return arranged


def _is_castable(path: str, dtype: np.dtype[Any]) -> bool:
    return path.startswith("params/") and jnp.issubdtype(dtype, jnp.floating)


def _kind(dtype: np.dtype[Any]) -> object:
    return next((kind for kind in KINDS if jnp.issubdtype(dtype, kind)), dtype)


def _narrowed(dtype: np.dtype[Any]) -> bool:
    return bool(jax.dtypes.canonicalize_dtype(dtype) != dtype)
