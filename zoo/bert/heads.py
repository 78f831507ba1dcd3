"""The layers after BERT's encoder, which its tasks need; the attributes have the names of the Hub's files."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from zoo._nn.layers import ACTIVATIONS
from zoo.bert.layers import Settings


class Pooler(nn.Module):
    """Dense layer with tanh over the first token's state."""

    settings: Settings

    def setup(self) -> None:
        self.dense = self.settings.dense(self.settings.width)

    def __call__(self, states: jax.Array) -> jax.Array:
        return jnp.tanh(self.dense(states[:, 0]))


class Transform(nn.Module):
    """Dense layer, activation and norm before the logits of a masked language model."""

    settings: Settings
    activation: str

    def setup(self) -> None:
        self.dense = self.settings.dense(self.settings.width)
        self.LayerNorm = self.settings.norm()

    def __call__(self, states: jax.Array) -> jax.Array:
        out: jax.Array = self.LayerNorm(ACTIVATIONS[self.activation](self.dense(states)))
        return out


class Predictions(nn.Module):
    """Logits over the vocabulary, by the token embeddings and a bias."""

    settings: Settings
    vocab_size: int
    activation: str

    def setup(self) -> None:
        self.transform = Transform(self.settings, self.activation)
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,))

    def __call__(self, states: jax.Array, embeddings: nn.Embed) -> jax.Array:
        logits = embeddings.attend(self.transform(states))
        return logits + self.bias.astype(logits.dtype)


class PretrainingHeads(nn.Module):
    """The heads that BERT is pretrained with, under their name in the files."""

    settings: Settings
    vocab_size: int
    activation: str

    def setup(self) -> None:
        self.predictions = Predictions(self.settings, self.vocab_size, self.activation)
        self.seq_relationship = self.settings.dense(2)

    def __call__(self, states: jax.Array, embeddings: nn.Embed) -> jax.Array:
        """(batch, length, width) -> (batch, length, vocab_size) logits of the tokens."""
        logits: jax.Array = self.predictions(states, embeddings)
        return logits

    def relationship(self, pooled: jax.Array) -> jax.Array:
        """(batch, width) -> (batch, 2) logits: the second text follows the first, or is any other."""
        logits: jax.Array = self.seq_relationship(pooled)
        return logits
