"""The blocks of vision transformers with rotary position embeddings, with timm's names."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.convolutions import stochastic_depth
from zoo._nn.layers import ACTIVATIONS, LayerScale
from zoo._nn.patches import Sides
from zoo._nn.rotary import rotate
from zoo.eva.relative import RelativeBias

INIT = nn.initializers.truncated_normal(0.02)
Dense = partial(nn.Dense, kernel_init=INIT)
# Kinds of norms by their names.
NORMS: dict[str, Callable[..., nn.Module]] = {
    "layer": partial(nn.LayerNorm, use_fast_variance=False),
    "rms": nn.RMSNorm,
}


class Sizes(NamedTuple):
    """Sizes and options that all blocks share."""

    width: int
    heads: int
    feed_forward: int
    swiglu: bool
    qkv_bias: bool
    key_bias: bool
    biases: bool
    query_norm: bool
    attention_norm: bool
    mlp_norm: bool
    post_norm: bool
    layer_scale: float
    mlp_scale: bool
    halves: bool
    relative: Sides | None
    resizing: str
    norm: str
    activation: str
    epsilon: float
    dropout: float
    attention_dropout: float
    mlp_dropout: float

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    def build_norm(self, dtype: DTypeLike | None) -> nn.Module:
        """Builds a norm."""
        return NORMS[self.norm](self.epsilon, dtype=dtype)


class Places(NamedTuple):
    """Places of patches, as attention takes them.

    Attributes:
        grid: Number of patches, down and across.
        angles: Those of `rotate`, if queries and keys are turned.
        bias: (1, heads, tokens, tokens) numbers for what all blocks share, if they do.
    """

    grid: Sides
    angles: ArrayLike | None = None
    bias: jax.Array | None = None


class Attention(nn.Module):
    """Self-attention whose queries and keys turn with their places, but not those of the tokens before them.

    It may have learned biases for relative places instead.

    Several heads may share keys and values: Ainslie et al., https://arxiv.org/abs/2305.13245.
    """

    sizes: Sizes
    key_value_heads: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes, dtype = self.sizes, self.dtype
        shared = self.key_value_heads * sizes.head_dim
        self.q_proj = Dense(sizes.width, use_bias=sizes.qkv_bias, dtype=dtype)
        self.k_proj = Dense(shared, use_bias=sizes.qkv_bias and sizes.key_bias, dtype=dtype)
        self.v_proj = Dense(shared, use_bias=sizes.qkv_bias, dtype=dtype)
        self.q_norm = sizes.build_norm(dtype)
        self.k_norm = sizes.build_norm(dtype)
        if sizes.relative:
            self.relative = RelativeBias(sizes.relative, sizes.heads, sizes.resizing)
        self.weights_drop = nn.Dropout(sizes.attention_dropout)
        self.norm = sizes.build_norm(dtype)
        self.proj = Dense(sizes.width, use_bias=sizes.biases, dtype=dtype)
        self.drop = nn.Dropout(sizes.dropout)

    def __call__(self, x: jax.Array, places: Places, *, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        sizes = self.sizes
        query, key, value = (
            dense(x).reshape(*x.shape[:2], -1, sizes.head_dim)
            for dense in (self.q_proj, self.k_proj, self.v_proj)
        )
        if sizes.query_norm:
            query, key = self.q_norm(query), self.k_norm(key)
        if places.angles is not None:
            query, key = (rotate(each, places.angles, halves=sizes.halves) for each in (query, key))
        if sharing := sizes.heads // self.key_value_heads - 1:
            key, value = (jnp.repeat(each, sharing + 1, axis=2) for each in (key, value))
        dropout = weights_dropout(self.weights_drop, train=train)
        bias = self._bias(places)
        bias = bias if bias is None else bias.astype(query.dtype)
        out = attention(query, key, value, bias=bias, dropout=dropout).reshape(x.shape)
        out = self.norm(out) if sizes.attention_norm else out
        dropped: jax.Array = self.drop(self.proj(out), deterministic=not train)
        return dropped

    def _bias(self, places: Places) -> jax.Array | None:
        """Returns the biases of this block and those of all blocks, added."""
        if not self.sizes.relative:
            return places.bias
        own: jax.Array = self.relative(places.grid)
        return own if places.bias is None else own + places.bias


class FeedForward(nn.Module):
    """Two dense layers; with gates, the first one is two.

    SwiGLU: Shazeer, https://arxiv.org/abs/2002.05202.
    """

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        dense = partial(Dense, use_bias=self.sizes.biases, dtype=self.dtype)
        inner = partial(dense, self.sizes.feed_forward)
        self.fc1, self.fc1_g, self.fc1_x = inner(), inner(), inner()
        self.drop1 = nn.Dropout(self.sizes.mlp_dropout)
        self.norm = self.sizes.build_norm(self.dtype)
        self.fc2 = dense(self.sizes.width)
        self.drop2 = nn.Dropout(self.sizes.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        activation = ACTIVATIONS[self.sizes.activation]
        x = activation(self.fc1_g(x)) * self.fc1_x(x) if self.sizes.swiglu else activation(self.fc1(x))
        x = self.drop1(x, deterministic=not train)
        x = self.norm(x) if self.sizes.mlp_norm else x
        dropped: jax.Array = self.drop2(self.fc2(x), deterministic=not train)
        return dropped


class Block(nn.Module):
    """Attention, then an MLP, each with a residual connection; norms before them, or after them."""

    sizes: Sizes
    key_value_heads: int
    stochastic_depth_rate: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes, dtype = self.sizes, self.dtype
        self.norm1 = sizes.build_norm(dtype)
        self.attn = Attention(sizes, self.key_value_heads, dtype)
        self.ls1 = LayerScale(sizes.width, sizes.layer_scale)
        self.norm2 = sizes.build_norm(dtype)
        self.mlp = FeedForward(sizes, dtype)
        self.ls2 = LayerScale(sizes.width, sizes.layer_scale if sizes.mlp_scale else 0.0)
        self.stochastic_depth = stochastic_depth(self.stochastic_depth_rate, axes=3)

    def __call__(self, x: jax.Array, places: Places, *, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        attend, feed = partial(self.attn, places=places, train=train), partial(self.mlp, train=train)
        for norm, call, scale in ((self.norm1, attend, self.ls1), (self.norm2, feed, self.ls2)):
            out = norm(call(x)) if self.sizes.post_norm else scale(call(norm(x)))
            x = x + self.stochastic_depth(out, deterministic=not train)
        return x
