"""The layers of Llama and its relatives; the attributes have the names of the Hub's files."""

import math
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from converters.layers import Leaf, Row
from zoo._nn.attention import attention, weights_dropout
from zoo._nn.caches import Cache
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.rope import Waves
from zoo._nn.rotary import turn

NORMALIZATIONS = ("rms", "rms_plus_one", "layer")
NORMS = ("before", "after", "both")
QK_NORMS = ("none", "heads", "all")


class RMSNormPlusOne(nn.Module):
    """RMS norm whose scale is one more than the parameter (https://arxiv.org/abs/2403.08295)."""

    epsilon: float
    dtype: DTypeLike | None = None

    torch_row: ClassVar[Row] = {"scale": Leaf("weight")}

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., width) -> the same shape."""
        scale = self.param("scale", nn.initializers.zeros, x.shape[-1:])
        dtype = jnp.promote_types(x.dtype, scale.dtype) if self.dtype is None else self.dtype
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        wide = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)
        return (wide * (1 + scale.astype(wide.dtype))).astype(dtype)


class Settings(NamedTuple):
    """Sizes and options that all blocks share; `create` says what they are."""

    series: LayerStack
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    activation: str
    normalization: str
    norms: str
    qk_norm: str
    epsilon: float
    attention_bias: bool
    qkv_bias: bool
    mlp_bias: bool
    query_scalar: float
    attention_cap: float | None
    attention_dropout: float
    dropout: float
    dtype: DTypeLike | None

    def norm(self) -> nn.Module:
        """Builds a norm."""
        if self.normalization == "rms_plus_one":
            return RMSNormPlusOne(self.epsilon, self.dtype)
        if self.normalization == "rms":
            return nn.RMSNorm(self.epsilon, self.dtype)
        return nn.LayerNorm(self.epsilon, self.dtype, use_fast_variance=False)

    def dense(self, features: int, *, bias: bool) -> nn.Dense:
        """Builds a dense layer."""
        start = nn.initializers.normal(0.02)
        return nn.Dense(features, use_bias=bias, dtype=self.dtype, kernel_init=start)


class Context(NamedTuple):
    """Arguments of a block that are the same for every block of its type.

    Attributes:
        waves: Turns queries and keys by their positions.
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        column: Column of the caches, if there are any, that the token goes to.
    """

    waves: Waves
    mask: jax.Array | None
    column: jax.Array | int


class Attention(nn.Module):
    """Causal self-attention, where several heads of queries may share one of keys and values."""

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        size, biased = settings.head_dim, settings.attention_bias
        self.q_proj = settings.dense(settings.heads * size, bias=biased or settings.qkv_bias)
        self.k_proj = settings.dense(settings.kv_heads * size, bias=biased or settings.qkv_bias)
        self.v_proj = settings.dense(settings.kv_heads * size, bias=biased or settings.qkv_bias)
        self.o_proj = settings.dense(settings.width, bias=biased)
        self.q_norm, self.k_norm = settings.norm(), settings.norm()
        self.attention_dropout = nn.Dropout(settings.attention_dropout)

    def __call__(
        self, x: jax.Array, context: Context, cache: Cache | None, *, train: bool
    ) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        query, key, value = self._projected(x)
        query, key = (turn(each, *context.waves) for each in (query, key))
        made = Cache(key.swapaxes(1, 2), value.swapaxes(1, 2))
        if cache is not None:
            made = cache.written(made, context.column)
        out = attention(
            query,
            made.keys.swapaxes(1, 2),
            made.values.swapaxes(1, 2),
            mask=context.mask,
            is_causal=cache is None,
            scale=1 / math.sqrt(self.settings.query_scalar),
            cap=self.settings.attention_cap,
            dropout=weights_dropout(self.attention_dropout, train=train),
        )
        return self.o_proj(out.reshape(*x.shape[:2], -1)), made

    def _projected(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns (batch, length, heads, head_dim) queries, and keys and values with theirs."""
        query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.settings.qk_norm == "all":
            query, key = self.q_norm(query), self.k_norm(key)
        split = (*x.shape[:2], -1, self.settings.head_dim)
        query, key, value = (each.reshape(split) for each in (query, key, value))
        if self.settings.qk_norm == "heads":
            query, key = self.q_norm(query), self.k_norm(key)
        return query, key, value


class MLP(nn.Module):
    """Two dense layers, the first of which has a gate (https://arxiv.org/abs/2002.05202)."""

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        self.gate_proj = settings.dense(settings.feed_forward, bias=settings.mlp_bias)
        self.up_proj = settings.dense(settings.feed_forward, bias=settings.mlp_bias)
        self.down_proj = settings.dense(settings.width, bias=settings.mlp_bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        gate = ACTIVATIONS[self.settings.activation](self.gate_proj(x))
        out: jax.Array = self.down_proj(gate * self.up_proj(x))
        return out


class Block(nn.Module):
    """Attention, then an MLP, each with a residual connection, and norms before or behind them, or both."""

    settings: Settings

    def setup(self) -> None:
        norm = self.settings.norm
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = norm(), norm()
        self.self_attn = Attention(self.settings)
        self.mlp = MLP(self.settings)
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(
        self, x: jax.Array, context: Context, cache: Cache | None, *, train: bool
    ) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        norms = self.settings.norms
        out, made = self.self_attn(
            x if norms == "after" else self.input_layernorm(x), context, cache, train=train
        )
        out = out if norms == "before" else self.post_attention_layernorm(out)
        x = x + self.dropout(out, deterministic=not train)
        out = x
        if norms == "before":  # in the files, this one has the name of its place
            out = self.post_attention_layernorm(x)
        elif norms == "both":
            out = self.pre_feedforward_layernorm(x)
        out = self.mlp(out)
        out = out if norms == "before" else self.post_feedforward_layernorm(out)
        return x + self.dropout(out, deterministic=not train), made
