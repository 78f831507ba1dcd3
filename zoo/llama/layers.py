"""The layers of Llama and its relatives; the attributes have the names of the Hub's files."""

import math
from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from converters.layers import Leaf, Row
from zoo._nn.attention import weights_dropout
from zoo._nn.caches import Cache, causal_attention
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


class Experts(NamedTuple):
    """Options of a mixture of experts.

    Attributes:
        total: Number of experts.
        chosen: Number of them that a token gets.
        feed_forward: Size of the hidden layer in each.
        shared: The same of the expert of all tokens; 0 where there is none.
        normalize: If true, the weights of a token's experts are scaled to a sum of one.
    """

    total: int
    chosen: int
    feed_forward: int
    shared: int
    normalize: bool


class Settings(NamedTuple):
    """Sizes and options that all blocks share; `create` says what they are."""

    series: LayerStack
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    experts: Experts
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
        out, made = causal_attention(
            query,
            key,
            value,
            cache,
            context.column,
            mask=context.mask,
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
    feed_forward: int

    def setup(self) -> None:
        dense = partial(self.settings.dense, bias=self.settings.mlp_bias)
        self.gate_proj, self.up_proj = dense(self.feed_forward), dense(self.feed_forward)
        self.down_proj = dense(self.settings.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        gate = ACTIVATIONS[self.settings.activation](self.gate_proj(x))
        out: jax.Array = self.down_proj(gate * self.up_proj(x))
        return out


class MixtureOfExperts(nn.Module):
    """MLPs of which a router gives each token a few (https://arxiv.org/abs/2401.04088, section 2.1).

    Every expert runs on every token, one after the other, and has the weight zero where it was not chosen.
    """

    settings: Settings

    def setup(self) -> None:
        settings, options = self.settings, self.settings.experts
        self.gate = settings.dense(options.total, bias=False)
        self.experts = MLP(settings, options.feed_forward)  # one in a loop over stacked arrays
        self.shared_expert = MLP(settings, options.shared)
        self.shared_expert_gate = settings.dense(1, bias=False)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) -> the same shape."""

        def add(expert: MLP, total: jax.Array, weights: jax.Array) -> tuple[jax.Array, None]:
            # What an expert makes of tokens that it never saw in training may be infinite.
            return total + jnp.where(weights > 0, weights * expert(x), 0), None

        options = self.settings.experts
        loop = nn.scan(add, variable_axes={True: 0}, split_rngs={True: True}, length=options.total)
        weights = jnp.moveaxis(self._weights(x), -1, 0)[..., None]
        out: jax.Array = loop(self.experts, jnp.zeros(x.shape, weights.dtype), weights)[0]
        if options.shared:
            out = out + nn.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
        return out

    def _weights(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) -> (batch, length, experts); probabilities are in float32 at least."""
        options, logits = self.settings.experts, self.gate(x)
        wide = nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        most, chosen = jax.lax.top_k(wide, options.chosen)
        if options.normalize:
            most = most / most.sum(-1, keepdims=True)
        places = nn.one_hot(chosen, options.total, dtype=logits.dtype)
        return (places * most.astype(logits.dtype)[..., None]).sum(-2)


class Block(nn.Module):
    """Attention, then an MLP or a mixture of experts, each with a residual connection, and norms.

    The norms are before attention and MLP, or behind them, or both.
    """

    settings: Settings
    sparse: bool

    def setup(self) -> None:
        settings, norm = self.settings, self.settings.norm
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = norm(), norm()
        self.self_attn = Attention(settings)
        self.mlp = MixtureOfExperts(settings) if self.sparse else MLP(settings, settings.feed_forward)
        self.dropout = nn.Dropout(settings.dropout)

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
