"""Parts that BERT's relatives share: what is between the states and the last layer of a head."""

from typing import NamedTuple, Protocol

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS
from zoo.bert import heads
from zoo.bert.layers import Settings


class Sizes(NamedTuple):
    """Numbers of embeddings, and of tokens in a text.

    Attributes:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Number of positions.
        token_types: Number of token types; 0 for none.
        offset: Number of positions that no token has, before the first one's.
    """

    vocab_size: int
    max_length: int
    token_types: int = 0
    offset: int = 0


class Options(NamedTuple):
    """Settings of an encoder and its heads.

    Attributes:
        layers: Those of the encoder's layers.
        series: Number of the layers, and how they run.
        sizes: Numbers of embeddings.
        embedding_width: Size of the embeddings, and of what the language model's head compares them with.
        text_activation: Activation in the head "classification".
        word_activation: Activation in the heads that give logits of tokens.
        classifier_dropout: Rate before the classifiers.
        choice_dropout: Rate before the logit of a choice.
    """

    layers: Settings
    series: LayerStack
    sizes: Sizes
    embedding_width: int
    text_activation: str
    word_activation: str
    classifier_dropout: float
    choice_dropout: float


class HasClassifierDropout(Protocol):
    """Settings with the rate before the classifiers."""

    @property
    def classifier_dropout(self) -> float:
        """The rate."""


class Plain(nn.Module):
    """States as they are, for heads before which there is nothing."""

    settings: object
    dtype: DTypeLike | None

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same."""
        return states


class Dropped(nn.Module):
    """States after the dropout that precedes a classifier."""

    settings: HasClassifierDropout
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.drop = nn.Dropout(self.settings.classifier_dropout)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same."""
        out: jax.Array = self.drop(states, deterministic=not train)
        return out


class FirstToken(nn.Module):
    """Dense layer with an activation over the first token's state, between two dropouts."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        layers = self.settings.layers._replace(dtype=self.dtype)
        self.dense = layers.dense(layers.width)
        self.drop = nn.Dropout(self.settings.classifier_dropout)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        x = self.dense(self.drop(states[:, 0], deterministic=not train))
        x = ACTIVATIONS[self.settings.text_activation](x)
        out: jax.Array = self.drop(x, deterministic=not train)
        return out


class Pooler(nn.Module):
    """The pooler's output."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.pooler = heads.Pooler(self.settings.layers._replace(dtype=self.dtype))

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        out: jax.Array = self.pooler(states)
        return out


class Pooled(nn.Module):
    """The pooler's output after the dropout that precedes a classifier."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.pooler = heads.Pooler(self.settings.layers._replace(dtype=self.dtype))
        self.drop = nn.Dropout(self.settings.classifier_dropout)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        out: jax.Array = self.drop(self.pooler(states), deterministic=not train)
        return out


class Words(nn.Module):
    """Logits over the vocabulary: dense layer, activation and norm, then the token embeddings and a bias."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        layers = self.settings.layers._replace(dtype=self.dtype)
        self.dense = layers.dense(self.settings.embedding_width)
        self.LayerNorm = layers.norm()
        self.bias = self.param("bias", nn.initializers.zeros, (self.settings.sizes.vocab_size,))

    def __call__(self, states: jax.Array, words: nn.Embed) -> jax.Array:
        """(batch, length, width) states and the token embeddings -> (batch, length, vocab_size)."""
        x = ACTIVATIONS[self.settings.word_activation](self.dense(states))
        logits = words.attend(self.LayerNorm(x))
        return logits + self.bias.astype(logits.dtype)
