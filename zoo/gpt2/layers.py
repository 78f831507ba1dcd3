"""The layers of GPT-2; the attributes have the names of the Hub's files."""

import math
from typing import ClassVar, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from converters.layers import Leaf, Row
from zoo._nn.attention import weights_dropout
from zoo._nn.caches import Cache, causal_attention
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS


class Conv1D(nn.Dense):
    """Dense layer whose kernel is (in, out) in the files, as in Flax."""

    torch_row: ClassVar[Row] = {"kernel": Leaf("weight"), "bias": Leaf("bias")}


Layer: TypeAlias = jax.Array | int  # 0 for the first; in a loop it is not known when compiling


class Settings(NamedTuple):
    """Sizes and options that all blocks share."""

    series: LayerStack
    width: int
    heads: int
    feed_forward: int
    activation: str
    epsilon: float
    dropout: float
    attention_dropout: float
    scale_attention: bool
    scale_by_layer: bool
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(self.epsilon, self.dtype, use_fast_variance=False)

    def dense(self, features: int, parts: int = 1) -> Conv1D:
        """Builds a dense layer; residual ones, of which there are `parts`, begin smaller (section 2.3)."""
        return Conv1D(features, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02 / math.sqrt(parts)))


class Context(NamedTuple):
    """Arguments that are the same for every block.

    Attributes:
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        column: Column of the caches, if there are any, that the token goes to.
        train: If true, dropout is applied.
    """

    mask: jax.Array | None
    column: jax.Array | int
    train: bool


class Attention(nn.Module):
    """Causal self-attention: each token attends to itself and those before it."""

    settings: Settings

    def setup(self) -> None:
        self.c_attn = self.settings.dense(3 * self.settings.width)
        self.c_proj = self.settings.dense(self.settings.width, 2 * self.settings.series.depth)
        self.attn_dropout = nn.Dropout(self.settings.attention_dropout)
        self.resid_dropout = nn.Dropout(self.settings.dropout)

    def __call__(
        self, x: jax.Array, context: Context, cache: Cache | None, layer: Layer
    ) -> tuple[jax.Array, Cache]:
        split = (*x.shape[:2], self.settings.heads, self.settings.width // self.settings.heads)
        parts = jnp.split(self.c_attn(x), 3, axis=-1)
        query, key, value = (part.reshape(split) for part in parts)
        if self.settings.scale_by_layer:
            query = query / (layer + 1)
        out, made = causal_attention(
            query,
            key,
            value,
            cache,
            context.column,
            mask=context.mask,
            scale=None if self.settings.scale_attention else 1.0,
            dropout=weights_dropout(self.attn_dropout, train=context.train),
        )
        out = self.resid_dropout(self.c_proj(out.reshape(x.shape)), deterministic=not context.train)
        return out, made


class MLP(nn.Module):
    """Two dense layers."""

    settings: Settings

    def setup(self) -> None:
        self.c_fc = self.settings.dense(self.settings.feed_forward)
        self.c_proj = self.settings.dense(self.settings.width, 2 * self.settings.series.depth)
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.c_proj(ACTIVATIONS[self.settings.activation](self.c_fc(x)))
        out: jax.Array = self.dropout(x, deterministic=not train)
        return out


class Block(nn.Module):
    """Pre-norm block: attention, then an MLP, each with a residual connection."""

    settings: Settings

    def setup(self) -> None:
        self.ln_1, self.ln_2 = self.settings.norm(), self.settings.norm()
        self.attn = Attention(self.settings)
        self.mlp = MLP(self.settings)

    def __call__(
        self, x: jax.Array, context: Context, cache: Cache | None, layer: Layer
    ) -> tuple[jax.Array, Cache]:
        out, made = self.attn(self.ln_1(x), context, cache, layer)
        x = x + out
        return x + self.mlp(self.ln_2(x), train=context.train), made


class Summary(nn.Module):
    """One number for a text, from the state of one of its tokens."""

    settings: Settings
    rate: float

    def setup(self) -> None:
        self.first_dropout = nn.Dropout(self.rate)
        self.summary = nn.Dense(1, dtype=self.settings.dtype, kernel_init=nn.initializers.normal(0.02))

    def __call__(self, state: jax.Array, *, train: bool) -> jax.Array:
        """(batch, width) -> (batch,)."""
        out: jax.Array = self.summary(self.first_dropout(state, deterministic=not train))[..., 0]
        return out
