"""Checks of what models of text are called with; under jit they look at shapes and dtypes alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from zoo._errors import ZooError


def token_ids(ids: ArrayLike, count: int, *, name: str = "input_ids", axes: int = 2) -> jax.Array:
    """Returns (batch, length) ids as an array, checked against the number of embeddings.

    Their values are checked where they are known: in a compiled program they are not, an unknown id gives
    NaN there, and the program has no operation more.

    Args:
        ids: An array, or lists of equal lengths.
        count: Number of embeddings.
        name: Name of the argument, for errors.
        axes: Number of axes.

    Raises:
        ZooError: ids that have no embedding, that are no whole numbers, or another number of axes.
    """
    concrete = _concrete(ids, name)
    array = jnp.asarray(ids if concrete is None else concrete)
    if array.ndim != axes or not jnp.issubdtype(array.dtype, jnp.integer):
        shape = "(batch, length)" if axes == 2 else "(batch, choices, length)"
        raise ZooError(f"{name} are {array.dtype} {array.shape}; expected whole numbers of shape {shape}.")
    if concrete is not None and concrete.size and not 0 <= concrete.min() <= concrete.max() < count:
        place = np.argwhere((concrete < 0) | (concrete >= count))[0]
        raise ZooError(
            f"{name}[{', '.join(map(str, place))}] is {concrete[tuple(place)]}; the model has embeddings for "
            f"0 to {count - 1}. A tokenizer of another model, or with tokens of its own, gives such ids."
        )
    return array


def like_ids(values: ArrayLike | None, ids: jax.Array, name: str) -> jax.Array | None:
    """Returns values for each token, such as a mask, as an array of a shape that the ids broadcast to.

    Raises:
        ZooError: of another shape.
    """
    if values is None:
        return None
    concrete = _concrete(values, name)
    array = jnp.asarray(values if concrete is None else concrete)
    same = array.ndim == ids.ndim and all(
        size in (1, of) for size, of in zip(array.shape, ids.shape, strict=True)
    )
    if not same:
        raise ZooError(f"{name} has the shape {array.shape}; expected that of input_ids, {ids.shape}.")
    return array


def flattened(values: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    """(batch, choices, length) values, or some that broadcast to it -> (batch * choices, length)."""
    if values is None or values.ndim == 2:
        return values
    return jnp.broadcast_to(values, shape).reshape(-1, shape[-1])


def _concrete(values: ArrayLike, name: str) -> np.ndarray | None:
    """The numbers; None where they are not known yet, or not on this process's devices alone."""
    if isinstance(values, jax.core.Tracer):
        return None
    if isinstance(values, jax.Array) and not values.is_fully_addressable:
        return None
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ZooError(f"{name} are no array: {error}; pad the texts to one length.") from error
