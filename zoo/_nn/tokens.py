"""Checks of what models of text are called with; under jit they look at shapes and dtypes alone."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from zoo._errors import ZooError
from zoo._nn.indices import check_range, known


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
    concrete = _known(ids, name)
    array = jnp.asarray(ids if concrete is None else concrete)
    _check_kind(array, axes, name)
    advice = "A tokenizer of another model, or with tokens of its own, gives such ids."
    check_range(concrete, count, name, f"the model has embeddings for 0 to {count - 1}. {advice}")
    return array


def stop_ids(ids: int | Sequence[int] | None) -> tuple[int, ...]:
    """Returns the ids of the tokens that end a text, of which a configuration says one, several or none."""
    return tuple(int(each) for each in np.atleast_1d([] if ids is None else ids))


def _check_kind(array: jax.Array, axes: int, name: str) -> None:
    expected = "(batch, length)" if axes == 2 else "(batch, choices, length)"
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ZooError(
            f"{name} are {array.dtype} {array.shape}, expected whole numbers {expected}, a tokenizer's; or "
            f"pass {name}.astype(jnp.int32)."
        )
    if array.ndim == axes - 1:
        lacking = "batch" if axes == 2 else "choices or of the batch"
        raise ZooError(
            f"{name} of shape {array.shape} lack the axis of the {lacking}; expected {expected}: pass "
            f"{name}[{'None' if axes == 2 else ':, None'}]."
        )
    if array.ndim != axes:
        raise ZooError(f"{name} of shape {array.shape}; expected {expected}.")


def like_ids(
    values: ArrayLike | None, ids: jax.Array, name: str, *, of: str = "input_ids"
) -> jax.Array | None:
    """Returns values for each token, such as a mask, as an array of a shape that the ids broadcast to.

    Raises:
        ZooError: of another shape.
    """
    if values is None:
        return None
    concrete = _known(values, name)
    array = jnp.asarray(values if concrete is None else concrete)
    same = array.ndim == ids.ndim and all(
        size in (1, other) for size, other in zip(array.shape, ids.shape, strict=True)
    )
    if not same:
        raise ZooError(f"{name} has the shape {array.shape}; expected that of {of}, {ids.shape}.")
    return array


def check_length(length: int, most: int) -> None:
    """Checks that texts are no longer than the model takes.

    Raises:
        ZooError: they are.
    """
    if length > most:
        raise ZooError(
            f"texts of {length} tokens; the model takes at most {most}, as input_ids[..., -{most}:] has."
        )


def decoder_arguments(
    input_ids: ArrayLike,
    attention_mask: ArrayLike | None,
    token_type_ids: None,
    position_ids: ArrayLike | None,
    *,
    vocab_size: int,
    max_length: int,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """Returns what a decoder without types of tokens is called with: ids, mask, and positions.

    Raises:
        ZooError: too long a text, another shape, token types, or, unless it is compiled, an id that the
            model lacks.
    """
    if token_type_ids is not None:
        raise ZooError("token_type_ids are given, and the model has no types of tokens; leave them out.")
    ids = token_ids(input_ids, vocab_size)
    check_length(ids.shape[1], max_length)
    places = None if position_ids is None else token_ids(position_ids, max_length, name="position_ids")
    return ids, like_ids(attention_mask, ids, "attention_mask"), like_ids(places, ids, "position_ids")


def last_columns(ids: jax.Array, mask: jax.Array | None, pad_token_id: int | None) -> jax.Array:
    """(batch,) columns of the last tokens that are no padding, by the mask and by the padding token."""
    kept = jnp.ones(ids.shape, bool) if mask is None else mask.astype(bool)
    if pad_token_id is not None:
        kept = kept & (ids != pad_token_id)
    return (kept * jnp.arange(ids.shape[1])).argmax(-1)


def flattened(values: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    """(batch, choices, length) values, or some that broadcast to it -> (batch * choices, length)."""
    if values is None or values.ndim == 2:
        return values
    return jnp.broadcast_to(values, shape).reshape(-1, shape[-1])


def _known(values: ArrayLike, name: str) -> np.ndarray | None:
    """Returns the numbers where they are known."""
    try:
        array = known(values)
    except ValueError as error:
        raise ZooError(f"{name} are no array: {error}; pad the texts to one length.") from error
    if array is not None and array.dtype.kind in "OSU":
        kind = "texts" if array.dtype.kind == "U" else type(values).__name__
        raise ZooError(
            f"{name} are {kind}, expected whole numbers: zoo.tokenizer makes ids of texts; zoo.predict, "
            "zoo.embed and zoo.generate take texts as they are."
        )
    return array
