"""States of NNX modules from arrays, and arrays from states."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from converters.errors import ConversionError
from converters.inspection import Path
from converters.matching import contiguous
from converters.nnx.walk import Place, walk


def state_of(
    module: nnx.Module,
    arrays: Iterable[tuple[Path, np.ndarray]],
    build: Callable[[], nnx.Module] | None = None,
) -> nnx.State[Any, Any]:
    """Returns the whole state of a module with these arrays in it.

    Random streams, caches and constants are the module's own; of an abstract module, whose have no values,
    `build` makes them, and random streams start from zero without it.

    Args:
        module: A module, concrete or abstract.
        arrays: Paths, as `walk` gives them, and arrays. Shared ones may be there under each of their paths.
        build: Makes the module.

    Raises:
        ConversionError: an array that is shared has two values.
    """
    found = walk(module)
    flat: dict[Place, Any] = {}
    given: dict[Path, np.ndarray] = {}
    for path, array in arrays:
        first = found.same.get(path, path)
        if first not in given:
            given[first] = array
            flat[found.places[first]] = _filled(found.arrays[first], array)
        elif not _equal(given[first], array):
            raise ConversionError(
                f"{'/'.join(first)} and {'/'.join(path)} are one array of the module, and the state dict has "
                "two that differ"
            )
    rest = {place: leaf for place, leaf in _flat(nnx.state(module)).items() if place not in flat}
    return nnx.from_flat_state({**flat, **_made(rest, build)})


def values_of(variables: Any, module: nnx.Module) -> dict[Path, Any]:
    """Returns the arrays of a module or state by their paths in the module, shared ones once for each."""
    found = walk(module)
    flat = {
        tuple(map(str, place)): leaf
        for place, leaf in _flat(
            nnx.state(variables) if isinstance(variables, nnx.Module) else variables
        ).items()
    }
    values = {}
    for path in (path for path in found.arrays if path[0]):
        place = found.places[found.same.get(path, path)]
        leaf = flat.get(tuple(map(str, place)))
        if leaf is None:
            raise ConversionError(f"the state lacks {'/'.join(map(str, place))}")
        values[path] = leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf
    return values


def _flat(state: Any) -> dict[Place, Any]:
    return dict(nnx.to_flat_state(state))


def _filled(leaf: Any, array: np.ndarray) -> Any:
    value = _on_device(array, _spread(getattr(_value(leaf), "sharding", None)))
    return leaf.replace(value) if isinstance(leaf, nnx.Variable) else value


def _on_device(array: Any, sharding: NamedSharding | None) -> Any:
    """Returns a JAX array, or NumPy's where JAX would make its numbers narrower; a tracer as it is."""
    if not isinstance(array, np.ndarray):
        return array
    array = contiguous(array)
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        return array
    return jnp.asarray(array) if sharding is None else jax.device_put(array, sharding)


def _spread(sharding: Any) -> NamedSharding | None:
    """Returns the sharding that an array of the module has, or would have if the module were made now."""
    if not isinstance(sharding, NamedSharding):
        return None
    if isinstance(sharding.mesh, Mesh):
        return sharding
    mesh = jax.sharding.get_mesh()
    return None if mesh.empty else NamedSharding(mesh, sharding.spec)


def _equal(one: Any, two: Any) -> bool:
    if not isinstance(one, np.ndarray):
        return True  # traced
    return one.dtype == two.dtype and contiguous(one).tobytes() == contiguous(two).tobytes()


def _made(rest: Mapping[Place, Any], build: Callable[[], nnx.Module] | None) -> dict[Place, Any]:
    """Returns the leaves with values where they had shapes only."""
    abstract = [place for place, leaf in rest.items() if _is_abstract(leaf)]
    if not abstract:
        return dict(rest)
    if build is None:
        return {
            place: _stream(leaf, at) if place in abstract else leaf
            for at, (place, leaf) in enumerate(rest.items())
        }

    def values() -> list[Any]:
        made = _flat(nnx.state(build()))
        return [_value(made[place]) for place in abstract]

    # Compiled, nothing else of the module is computed.
    made = dict(zip(abstract, jax.jit(values)(), strict=True))
    return {
        place: leaf
        if place not in made
        else (leaf.replace(made[place]) if isinstance(leaf, nnx.Variable) else made[place])
        for place, leaf in rest.items()
    }


def _stream(leaf: Any, index: int) -> Any:
    """Returns a random stream from its beginning, of its own; what is no stream stays abstract."""
    shape = leaf.shape
    if isinstance(leaf, nnx.RngKey):
        key = jax.random.fold_in(jax.random.key(0), index)
        return leaf.replace(jax.random.split(key, shape) if shape else key)
    if isinstance(leaf, nnx.RngCount):
        return leaf.replace(jnp.zeros(shape, jnp.uint32))
    return leaf


def _value(leaf: Any) -> Any:
    return leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf


def _is_abstract(leaf: Any) -> bool:
    return isinstance(_value(leaf), jax.ShapeDtypeStruct)
