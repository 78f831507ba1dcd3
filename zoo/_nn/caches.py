"""Keys and values of the tokens so far, which decoders keep between two calls, and attention to them."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from zoo._nn.attention import Dropout, attention


class Cache(NamedTuple):
    """Keys and values of the tokens so far, each (batch, heads, length, head_dim).

    XLA multiplies matrices of this order as they lie; it would copy others first.
    """

    keys: jax.Array
    values: jax.Array

    def written(self, new: "Cache", column: jax.Array | int) -> "Cache":
        """Returns the cache with the new token in that column."""
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=column, axis=2)
        return Cache(put(self.keys, new.keys), put(self.values, new.values))


Caches: TypeAlias = Sequence[Cache] | Cache  # one for each block; with scan, the first axis is the blocks


def causal_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    cache: Cache | None,
    column: jax.Array | int,
    *,
    mask: jax.Array | None,
    scale: float | None = None,
    cap: float | None = None,
    dropout: Dropout | None = None,
) -> tuple[jax.Array, Cache]:
    """Attends to what a text has so far, and returns it with the keys and values of all of it.

    Args:
        query: (batch, queries, heads, head_dim)
        key: (batch, queries, key_heads, head_dim), as for `attention`.
        value: The same shape.
        cache: Keys and values of the tokens before; None for texts from their beginning.
        column: Column of the cache that the token goes to.
        mask: True for tokens to attend to; broadcasts to (batch, 1, queries, keys).
        scale: As for `attention`, and the same for cap.
        cap: Largest magnitude of the scaled products.
        dropout: As for `attention`; without a cache only.
    """
    made = Cache(key.swapaxes(1, 2), value.swapaxes(1, 2))
    if cache is not None:
        made = cache.written(made, column)
        return _attention_to(made, query, mask, scale, cap), made
    out = attention(query, key, value, mask=mask, is_causal=True, scale=scale, cap=cap, dropout=dropout)
    return out, made


def _attention_to(
    cache: Cache, query: jax.Array, mask: jax.Array | None, scale: float | None, cap: float | None
) -> jax.Array:
    """Computes `attention` with neither keys nor values copied: these are read once for all their heads.

    XLA transposes the right operand of a product unless its rows are summed; keys are therefore on the left.
    """
    heads, size = cache.keys.shape[1], query.shape[-1]
    grouped = query.reshape(*query.shape[:2], heads, -1, size)
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    logits = jnp.einsum("bhkd,bqhgd->bhkqg", cache.keys, grouped, preferred_element_type=dtype)
    # Without the barrier XLA would exchange the operands for the sake of the next transposition.
    logits = jnp.moveaxis(jax.lax.optimization_barrier(logits), 2, -1)
    logits = logits * (1 / math.sqrt(size) if scale is None else scale)
    logits = logits if cap is None else cap * jnp.tanh(logits / cap)
    if mask is not None:
        logits = jnp.where(mask[:, :, :, None], logits, jnp.finfo(dtype).min)
    weights = jax.nn.softmax(logits).astype(cache.values.dtype)
    out = jnp.einsum("bhqgk,bhkd->bhqgd", weights, cache.values)
    return jnp.moveaxis(out, 1, 2).reshape(query.shape)
