"""Scaled dot-product attention, which every transformer of the zoo uses."""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

Dropout = Callable[[jax.Array], jax.Array]


def key_mask(attention_mask: jax.Array | None) -> jax.Array | None:
    """(batch, length) of ones for tokens to keep -> (batch, 1, 1, length), a mask for `attention`."""
    return None if attention_mask is None else jnp.asarray(attention_mask)[:, None, None, :].astype(bool)


def weights_dropout(layer: nn.Dropout, *, train: bool) -> Dropout | None:
    """Returns a dropout layer as `attention` takes it; None where it drops nothing."""
    return partial(layer, deterministic=False) if train and layer.rate else None


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    mask: jax.Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    bias: jax.Array | None = None,
    cap: float | None = None,
    dropout: Dropout | None = None,
) -> jax.Array:
    """Averages the values, weighted by the products of their keys with the query.

    Vaswani et al., https://arxiv.org/abs/1706.03762, section 3.2.1.

    A query that may attend to nothing gets the average of all values, and no NaN.

    Args:
        query: (batch, queries, heads, head_dim)
        key: (batch, keys, key_heads, head_dim); key_heads divides heads, and so many neighboring heads of
            queries share one of the keys (Ainslie et al., https://arxiv.org/abs/2305.13245).
        value: (batch, keys, key_heads, head_dim)
        mask: True where to attend; broadcasts to (batch, heads, queries, keys).
        is_causal: If true, lets query i attend to the keys 0 to i only.
        scale: Factor of the products; by default 1 / sqrt(head_dim).
        bias: Numbers to add to the scaled products; broadcasts to (batch, heads, queries, keys).
        cap: Largest magnitude of the scaled products, which a tanh bends towards it
            (https://arxiv.org/abs/2408.00118, section 2); None leaves them.
        dropout: Function that drops some of the (batch, heads, queries, keys) weights, in training.

    Returns:
        (batch, queries, heads, head_dim)
    """
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    # The library's softmax is in float32 and knows no cap or dropout; compiled for CPUs, it refuses float16.
    if query.dtype in (jnp.float64, jnp.float16) or not (cap is None and dropout is None):
        return _attention(query, key, value, mask, is_causal, scale, bias, cap, dropout)
    return jax.nn.dot_product_attention(query, key, value, bias, mask, scale=scale, is_causal=is_causal)


def _attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    is_causal: bool,
    scale: float,
    bias: jax.Array | None,
    cap: float | None,
    dropout: Dropout | None,
) -> jax.Array:
    """Computes attention in plain operations, with a softmax in float32, or in float64 for float64."""
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    key, value = (jnp.repeat(each, query.shape[2] // each.shape[2], axis=2) for each in (key, value))
    logits = scale * jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=dtype)
    logits = logits if cap is None else cap * jnp.tanh(logits / cap)
    logits = logits if bias is None else logits + bias
    for allowed in (mask, _causal(logits.shape) if is_causal else None):
        if allowed is not None:
            logits = jnp.where(allowed, logits, jnp.finfo(dtype).min)
    weights = jax.nn.softmax(logits).astype(value.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights if dropout is None else dropout(weights), value)


def _causal(shape: tuple[int, ...]) -> jax.Array:
    return jnp.tri(shape[-2], shape[-1], dtype=bool)
