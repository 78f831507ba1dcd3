"""The layers of ModernBERT's encoder; the attributes have the names of the Hub's files."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.rotary import frequencies, turn


class Settings(NamedTuple):
    """Sizes and options of the layers and heads; `create` of the model documents them."""

    vocab_size: int
    width: int
    depth: int
    heads: int
    feed_forward: int
    activation: str
    layer_types: tuple[str, ...]
    window: int
    global_rope_theta: float
    local_rope_theta: float
    epsilon: float
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    word_bias: bool
    head_bias: bool
    head_activation: str
    classifier_pooling: str
    embedding_dropout: float
    attention_dropout: float
    mlp_dropout: float
    classifier_dropout: float
    remat: bool

    def norm(self, dtype: DTypeLike | None) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(self.epsilon, dtype, use_bias=self.norm_bias, use_fast_variance=False)

    def dense(self, features: int, dtype: DTypeLike | None, *, bias: bool, out: bool = False) -> nn.Dense:
        """Builds a dense layer; one whose outputs are added to the states begins with smaller weights."""
        std = 0.02 / (2 * self.depth) ** 0.5 if out else 0.02
        return nn.Dense(features, use_bias=bias, dtype=dtype, kernel_init=nn.initializers.normal(std))


class View(NamedTuple):
    """Tokens that attention of one kind may see, and rotations of their queries and keys.

    Attributes:
        mask: True where to attend, of a shape that broadcasts to (batch, heads, queries, keys); None for all.
        cos: (batch, length, 1, head_dim / 2) cosines of the angles; the batch may be 1.
        sin: Their sines.
    """

    mask: jax.Array | None
    cos: jax.Array
    sin: jax.Array

    @classmethod
    def of(
        cls,
        positions: jax.Array,
        mask: jax.Array | None,
        head_dim: int,
        theta: float,
        reach: int | None,
        dtype: DTypeLike,
    ) -> "View":
        """Returns the view of attention that reaches so many tokens to either side, or all for None."""
        length = positions.shape[1]
        if reach is not None:
            columns = jnp.arange(length)
            near = (jnp.abs(columns[:, None] - columns) <= reach)[None, None]
            mask = near if mask is None else mask & near
        wide = jnp.promote_types(dtype, jnp.float32)
        turning = jnp.asarray(frequencies(head_dim // 2, theta), wide)
        angles = (positions.astype(wide)[..., None] * turning)[:, :, None]
        return cls(mask, jnp.cos(angles), jnp.sin(angles))


class Embeddings(nn.Module):
    """Token embeddings, normalized."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings = self.settings
        self.tok_embeddings = nn.Embed(
            settings.vocab_size,
            settings.width,
            self.dtype,
            embedding_init=nn.initializers.normal(0.02),
        )
        self.norm = settings.norm(self.dtype)
        self.drop = nn.Dropout(settings.embedding_dropout)

    def __call__(self, ids: jax.Array, *, train: bool) -> jax.Array:
        """(batch, length) token ids -> (batch, length, width)."""
        out: jax.Array = self.drop(self.norm(self.tok_embeddings(ids)), deterministic=not train)
        return out


class Attention(nn.Module):
    """Attention whose queries, keys and values are of one dense layer."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings = self.settings
        dense = partial(settings.dense, dtype=self.dtype, bias=settings.attention_bias)
        self.Wqkv = dense(3 * settings.width)
        self.Wo = dense(settings.width, out=True)
        self.drop = nn.Dropout(settings.attention_dropout)

    def __call__(self, x: jax.Array, view: View, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        parts = self.Wqkv(x).reshape(*x.shape[:2], 3, self.settings.heads, -1)
        query, key = (turn(parts[:, :, index], view.cos, view.sin) for index in (0, 1))
        dropout = weights_dropout(self.drop, train=train)
        found = attention(query, key, parts[:, :, 2], mask=view.mask, dropout=dropout)
        out: jax.Array = self.drop(self.Wo(found.reshape(x.shape)), deterministic=not train)
        return out


class FeedForward(nn.Module):
    """Two dense layers, the first of which gives values and their gates (https://arxiv.org/abs/2002.05202)."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        dense = partial(self.settings.dense, dtype=self.dtype, bias=self.settings.mlp_bias)
        self.Wi = dense(2 * self.settings.feed_forward)
        self.Wo = dense(self.settings.width, out=True)
        self.drop = nn.Dropout(self.settings.mlp_dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        values, gates = jnp.split(self.Wi(x), 2, axis=-1)
        x = ACTIVATIONS[self.settings.activation](values) * gates
        out: jax.Array = self.Wo(self.drop(x, deterministic=not train))
        return out


class Layer(nn.Module):
    """Pre-norm layer: attention, then two dense layers, each with a residual connection.

    Attributes:
        settings: Sizes and options.
        dtype: Dtype to compute in.
        normed: If false, the states that attention reads are as they are: those of the embeddings are normed.
    """

    settings: Settings
    dtype: DTypeLike | None
    normed: bool

    def setup(self) -> None:
        self.attn_norm = self.settings.norm(self.dtype)
        self.attn = Attention(self.settings, self.dtype)
        self.mlp_norm = self.settings.norm(self.dtype)
        self.mlp = FeedForward(self.settings, self.dtype)

    def __call__(self, x: jax.Array, view: View, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        x = x + self.attn(self.attn_norm(x) if self.normed else x, view, train=train)
        out: jax.Array = x + self.mlp(self.mlp_norm(x), train=train)
        return out
