"""The layers of GPT-NeoX and its relatives; the attributes have the names of GPT-NeoX' files."""

import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.caches import Cache
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.rope import Waves
from zoo._nn.rotary import turn


class Settings(NamedTuple):
    """Sizes and options that all blocks share; `create` says what they are."""

    series: LayerStack
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    activation: str
    epsilon: float
    parallel: bool
    one_norm: bool
    fused: bool
    neighbors: bool
    attention_bias: bool
    mlp_bias: bool
    dropout: float
    attention_dropout: float
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(self.epsilon, self.dtype, use_fast_variance=False)

    def dense(self, features: int, *, bias: bool) -> nn.Dense:
        """Builds a dense layer."""
        start = nn.initializers.normal(0.02)
        return nn.Dense(features, use_bias=bias, dtype=self.dtype, kernel_init=start)


class Context(NamedTuple):
    """Arguments that are the same for every block.

    Attributes:
        waves: Turns queries and keys by their positions, if anything does.
        bias: Numbers to add to their products, if there are any: (batch, heads, 1, keys).
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        column: Column of the caches, if there are any, that the token goes to.
        train: If true, dropout is applied.
    """

    waves: Waves | None
    bias: jax.Array | None
    mask: jax.Array | None
    column: jax.Array | int
    train: bool


def slopes(heads: int) -> np.ndarray:
    """Returns how much each head sees less of a token for its distance (https://arxiv.org/abs/2108.12409)."""
    power = 2 ** math.floor(math.log2(heads))
    own = 2.0 ** (-8 / power * np.arange(1, power + 1))
    between = 2.0 ** (-4 / power * np.arange(1, 2 * (heads - power), 2))
    every: np.ndarray = np.concatenate([own, between])
    return every


class Attention(nn.Module):
    """Causal self-attention, where several heads of queries may share one of keys and values.

    Where one layer makes all three, a head of keys has its queries before it and its values behind it.
    """

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        size = settings.width // settings.heads
        dense = partial(settings.dense, bias=settings.attention_bias)
        self.query_key_value = dense((settings.heads + 2 * settings.kv_heads) * size)
        self.q_proj = dense(settings.width)
        self.k_proj, self.v_proj = dense(settings.kv_heads * size), dense(settings.kv_heads * size)
        self.dense = dense(settings.width)
        self.dropout = nn.Dropout(settings.attention_dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        query, key, value = self._projected(x)
        if context.waves is not None:
            halves = not self.settings.neighbors
            query, key = (turn(each, *context.waves, halves=halves) for each in (query, key))
        made = Cache(key.swapaxes(1, 2), value.swapaxes(1, 2))
        if cache is not None:
            made = cache.written(made, context.column)
        out = attention(
            query,
            made.keys.swapaxes(1, 2),
            made.values.swapaxes(1, 2),
            mask=context.mask,
            is_causal=cache is None,
            bias=context.bias,
            dropout=weights_dropout(self.dropout, train=context.train),
        )
        return self.dense(out.reshape(x.shape)), made

    def _projected(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns (batch, length, heads, size) queries, and keys and values with their heads."""
        settings = self.settings
        split = (*x.shape[:2], -1, settings.width // settings.heads)
        if not settings.fused:
            return self.q_proj(x).reshape(split), self.k_proj(x).reshape(split), self.v_proj(x).reshape(split)
        parts = self.query_key_value(x).reshape(*x.shape[:2], settings.kv_heads, *split[2:])
        return parts[..., :-2, :].reshape(split), parts[..., -2, :], parts[..., -1, :]


class MLP(nn.Module):
    """Two dense layers."""

    settings: Settings

    def setup(self) -> None:
        dense = partial(self.settings.dense, bias=self.settings.mlp_bias)
        self.dense_h_to_4h, self.dense_4h_to_h = dense(self.settings.feed_forward), dense(self.settings.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        out: jax.Array = self.dense_4h_to_h(ACTIVATIONS[self.settings.activation](self.dense_h_to_4h(x)))
        return out


class Block(nn.Module):
    """Attention and an MLP, of the same states or one after the other."""

    settings: Settings

    def setup(self) -> None:
        self.input_layernorm, self.post_attention_layernorm = self.settings.norm(), self.settings.norm()
        self.attention, self.mlp = Attention(self.settings), MLP(self.settings)
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        drop = partial(self.dropout, deterministic=not context.train)
        normed = self.input_layernorm(x)
        out, made = self.attention(normed, context, cache)
        after = x + drop(out)
        if not self.settings.one_norm:
            normed = self.post_attention_layernorm(x if self.settings.parallel else after)
        return after + drop(self.mlp(normed)), made
