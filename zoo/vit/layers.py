"""The blocks of a vision transformer, with timm's names."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.convolutions import stochastic_depth
from zoo._nn.layers import ACTIVATIONS, LayerScale

INIT = nn.initializers.truncated_normal(0.02)
Dense = partial(nn.Dense, kernel_init=INIT)
LayerNorm = partial(nn.LayerNorm, use_fast_variance=False)


class Sizes(NamedTuple):
    """Sizes and options that all blocks share."""

    width: int
    heads: int
    feed_forward: int
    qkv_bias: bool
    layer_scale: float
    activation: str
    epsilon: float
    dropout: float
    attention_dropout: float
    mlp_dropout: float
    swiglu: bool


class Attention(nn.Module):
    """Self-attention whose queries, keys and values come from one dense layer."""

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        width, sizes = self.sizes.width, self.sizes
        self.qkv = Dense(3 * width, use_bias=sizes.qkv_bias, dtype=self.dtype)
        self.proj = Dense(width, dtype=self.dtype)
        self.weights_drop = nn.Dropout(sizes.attention_dropout)
        self.drop = nn.Dropout(sizes.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, self.sizes.heads, -1)
        dropout = weights_dropout(self.weights_drop, train=train)
        out = attention(*jnp.moveaxis(qkv, 2, 0), dropout=dropout).reshape(x.shape)
        dropped: jax.Array = self.drop(self.proj(out), deterministic=not train)
        return dropped


class FeedForward(nn.Module):
    """Two dense layers."""

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.fc1 = Dense(self.sizes.feed_forward, dtype=self.dtype)
        self.fc2 = Dense(self.sizes.width, dtype=self.dtype)
        self.drop1 = nn.Dropout(self.sizes.mlp_dropout)
        self.drop2 = nn.Dropout(self.sizes.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        x = self.drop1(ACTIVATIONS[self.sizes.activation](self.fc1(x)), deterministic=not train)
        dropped: jax.Array = self.drop2(self.fc2(x), deterministic=not train)
        return dropped


class GatedFeedForward(nn.Module):
    """Two dense layers; half of the first one's outputs are gates of the others.

    SwiGLU: Shazeer, https://arxiv.org/abs/2002.05202.
    """

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.w12 = Dense(2 * self.sizes.feed_forward, dtype=self.dtype)
        self.w3 = Dense(self.sizes.width, dtype=self.dtype)
        self.drop1 = nn.Dropout(self.sizes.mlp_dropout)
        self.drop2 = nn.Dropout(self.sizes.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        gates, states = jnp.split(self.w12(x), 2, axis=-1)
        x = self.drop1(nn.silu(gates) * states, deterministic=not train)
        dropped: jax.Array = self.drop2(self.w3(x), deterministic=not train)
        return dropped


class Block(nn.Module):
    """Pre-norm block: attention, then an MLP, each with a residual connection."""

    sizes: Sizes
    stochastic_depth_rate: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        norm = partial(LayerNorm, self.sizes.epsilon, dtype=self.dtype)
        scale = partial(LayerScale, self.sizes.width, self.sizes.layer_scale)
        self.norm1 = norm()
        self.attn = Attention(self.sizes, self.dtype)
        self.ls1 = scale()
        self.norm2 = norm()
        self.mlp = (GatedFeedForward if self.sizes.swiglu else FeedForward)(self.sizes, self.dtype)
        self.ls2 = scale()
        self.stochastic_depth = stochastic_depth(self.stochastic_depth_rate, axes=3)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        drop = partial(self.stochastic_depth, deterministic=not train)
        x = x + drop(self.ls1(self.attn(self.norm1(x), train=train)))
        out: jax.Array = x + drop(self.ls2(self.mlp(self.norm2(x), train=train)))
        return out
