"""The layers of BERT's encoder; the attributes have the names of the Hub's files."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import attention, weights_dropout
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS, check_activation


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


def settings(
    *,
    width: int,
    heads: int,
    feed_forward: int,
    activation: str,
    epsilon: float,
    dropout: float,
    attention_dropout: float,
    causal: bool = False,
) -> Settings:
    """Returns checked settings.

    Raises:
        ZooError: no such activation, or heads that do not divide the width.
    """
    if width % heads:
        raise ZooError(f"{heads} heads do not divide a width of {width}.")
    return Settings(
        width=width,
        heads=heads,
        feed_forward=feed_forward,
        activation=check_activation(activation),
        epsilon=epsilon,
        dropout=dropout,
        attention_dropout=attention_dropout,
        causal=causal,
        dtype=None,
    )


class Embeddings(nn.Module):
    """Sum of token, position and, where the model has types, token type embeddings, normalized.

    Attributes:
        settings: Those of the layers; the width is that of the embeddings.
        vocab_size: Number of tokens in the vocabulary.
        max_length: Number of positions.
        token_types: Number of token types; 0 for none.
        task_types: Number of tasks that ERNIE was trained for, the first of which texts are read for; 0 for
            none.
    """

    settings: Settings
    vocab_size: int
    max_length: int
    token_types: int
    task_types: int = 0

    def setup(self) -> None:
        self.word_embeddings = self.settings.embed(self.vocab_size)
        self.position_embeddings = self.settings.embed(self.max_length)
        self.token_type_embeddings = self.settings.embed(self.token_types)
        self.task_type_embeddings = self.settings.embed(self.task_types)
        self.LayerNorm = self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(
        self, input_ids: jax.Array, positions: jax.Array, types: jax.Array | None, *, train: bool
    ) -> jax.Array:
        x = self.word_embeddings(input_ids)
        if self.token_types:
            x = x + self.token_type_embeddings(jnp.zeros_like(input_ids) if types is None else types)
        if self.task_types:
            x = x + self.task_type_embeddings(jnp.zeros_like(input_ids))
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

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, bias: jax.Array | None, *, train: bool
    ) -> jax.Array:
        split = (*x.shape[:2], self.settings.heads, self.settings.width // self.settings.heads)
        query, key, value = (layer(x).reshape(split) for layer in (self.query, self.key, self.value))
        dropout = weights_dropout(self.dropout, train=train)
        out = attention(
            query, key, value, mask=mask, is_causal=self.settings.causal, bias=bias, dropout=dropout
        )
        return out.reshape(x.shape)


class Attention(nn.Module):
    """Self-attention and its output layer."""

    settings: Settings
    drops: bool

    def setup(self) -> None:
        self.self = SelfAttention(self.settings)
        self.output = Output(self.settings, self.drops)

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, bias: jax.Array | None, *, train: bool
    ) -> jax.Array:
        out: jax.Array = self.output(self.self(x, mask, bias, train=train), x, train=train)
        return out


class Intermediate(nn.Module):
    """Dense layer with an activation."""

    settings: Settings

    def setup(self) -> None:
        self.dense = self.settings.dense(self.settings.feed_forward)

    def __call__(self, x: jax.Array) -> jax.Array:
        return ACTIVATIONS[self.settings.activation](self.dense(x))


class Layer(nn.Module):
    """Post-norm layer: attention, then two dense layers, each with a residual connection.

    Attributes:
        settings: Sizes and options.
        drops_attention: If true, dropout follows the attention's output layer.
        drops_output: If true, dropout follows the second dense layer.
    """

    settings: Settings
    drops_attention: bool = True
    drops_output: bool = True

    def setup(self) -> None:
        self.attention = Attention(self.settings, self.drops_attention)
        self.intermediate = Intermediate(self.settings)
        self.output = Output(self.settings, self.drops_output)

    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        bias: jax.Array | None = None,
        *,
        train: bool,
    ) -> jax.Array:
        """(batch, length, width) -> the same shape; mask and bias are those of `attention`."""
        x = self.attention(x, mask, bias, train=train)
        out: jax.Array = self.output(self.intermediate(x), x, train=train)
        return out


class Encoder(nn.Module):
    """The stack of layers."""

    settings: Settings
    series: LayerStack
    drops_attention: bool = True

    def setup(self) -> None:
        self.layer = self.series.build(partial(Layer, self.settings, drops_attention=self.drops_attention))

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, bias: jax.Array | None = None, *, train: bool
    ) -> jax.Array:
        """(batch, length, width) -> the same shape; mask and bias are those of `attention`."""
        return self.series.apply(self.layer, lambda layer, x: layer(x, mask, bias, train=train), x)


def positions(ids: jax.Array, most: int, *, padding: int | None = None) -> jax.Array:
    """Returns the positions of (batch, length) token ids, of a shape that broadcasts to theirs.

    Args:
        ids: Token ids.
        most: Largest number of tokens in a text.
        padding: Id of the padding token, whose position it is, and behind which those of the other tokens
            begin; None where all count from 0.

    Raises:
        ZooError: longer texts.
    """
    length = ids.shape[1]
    if length > most:
        raise ZooError(
            f"texts of {length} tokens; the model takes at most {most}, as input_ids[:, :{most}] has."
        )
    if padding is None:
        return jnp.arange(length)[None]
    kept = jnp.asarray(ids != padding, jnp.int32)
    return jnp.cumsum(kept, axis=1) * kept + padding
