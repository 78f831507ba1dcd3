"""The layers of BERT's encoder; the attributes have the names of the Hub's files."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS


class Settings(NamedTuple):
    """Sizes and options that all layers share."""

    width: int
    heads: int
    feed_forward: int
    activation: str
    epsilon: float
    dropout: float
    attention_dropout: float
    causal: bool
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(self.epsilon, self.dtype, use_fast_variance=False)

    def dense(self, features: int) -> nn.Dense:
        """Builds a dense layer."""
        return nn.Dense(features, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02))

    def embed(self, count: int) -> nn.Embed:
        """Builds an embedding of `count` vectors."""
        return nn.Embed(count, self.width, self.dtype, embedding_init=nn.initializers.normal(0.02))


class Embeddings(nn.Module):
    """Sum of token, position and, where the model has types, token type embeddings, normalized."""

    settings: Settings
    vocab_size: int
    max_length: int
    token_types: int

    def setup(self) -> None:
        self.word_embeddings = self.settings.embed(self.vocab_size)
        self.position_embeddings = self.settings.embed(self.max_length)
        self.token_type_embeddings = self.settings.embed(self.token_types)
        self.LayerNorm = self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(
        self, input_ids: jax.Array, positions: jax.Array, types: jax.Array | None, *, train: bool
    ) -> jax.Array:
        x = self.word_embeddings(input_ids)
        if self.token_types:
            x = x + self.token_type_embeddings(jnp.zeros_like(input_ids) if types is None else types)
        x = self.LayerNorm(x + self.position_embeddings(positions))
        out: jax.Array = self.dropout(x, deterministic=not train)
        return out


class Output(nn.Module):
    """Dense layer back to the width, residual connection and norm."""

    settings: Settings
    drops: bool

    def setup(self) -> None:
        self.dense = self.settings.dense(self.settings.width)
        self.LayerNorm = self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, before: jax.Array, *, train: bool) -> jax.Array:
        x = self.dropout(self.dense(x), deterministic=not (train and self.drops))
        out: jax.Array = self.LayerNorm(x + before)
        return out


class SelfAttention(nn.Module):
    """Self-attention over the tokens that the mask keeps."""

    settings: Settings

    def setup(self) -> None:
        self.query, self.key, self.value = (self.settings.dense(self.settings.width) for _ in range(3))
        self.dropout = nn.Dropout(self.settings.attention_dropout)

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        split = (*x.shape[:2], self.settings.heads, self.settings.width // self.settings.heads)
        query, key, value = (layer(x).reshape(split) for layer in (self.query, self.key, self.value))
        dropout = weights_dropout(self.dropout, train=train)
        out = attention(query, key, value, mask=mask, is_causal=self.settings.causal, dropout=dropout)
        return out.reshape(x.shape)


class Attention(nn.Module):
    """Self-attention and its output layer."""

    settings: Settings
    drops: bool

    def setup(self) -> None:
        self.self = SelfAttention(self.settings)
        self.output = Output(self.settings, self.drops)

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        out: jax.Array = self.output(self.self(x, mask, train=train), x, train=train)
        return out


class Intermediate(nn.Module):
    """Dense layer with an activation."""

    settings: Settings

    def setup(self) -> None:
        self.dense = self.settings.dense(self.settings.feed_forward)

    def __call__(self, x: jax.Array) -> jax.Array:
        return ACTIVATIONS[self.settings.activation](self.dense(x))


class Layer(nn.Module):
    """Post-norm layer: attention, then two dense layers, each with a residual connection."""

    settings: Settings
    drops_attention: bool

    def setup(self) -> None:
        self.attention = Attention(self.settings, self.drops_attention)
        self.intermediate = Intermediate(self.settings)
        self.output = Output(self.settings, drops=True)

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        x = self.attention(x, mask, train=train)
        out: jax.Array = self.output(self.intermediate(x), x, train=train)
        return out


class Encoder(nn.Module):
    """The stack of layers."""

    settings: Settings
    series: LayerStack
    drops_attention: bool

    def setup(self) -> None:
        self.layer = self.series.build(partial(Layer, self.settings, drops_attention=self.drops_attention))

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        return self.series.apply(self.layer, lambda layer, x: layer(x, mask, train=train), x)
