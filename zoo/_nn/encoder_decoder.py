"""Encoders with decoders that read them: how they encode and go on, for generation."""

from abc import abstractmethod

import flax.linen as nn
import jax
import jax.numpy as jnp

from zoo._nn.attention import key_mask
from zoo._nn.caches import Caches
from zoo._nn.memory import Memory


class EncoderDecoder(nn.Module):
    """A language model with an encoder, of which a family writes the methods below and a module `decoder`."""

    def context(self, inputs: jax.Array, attention_mask: jax.Array | None = None) -> Memory:
        """Runs the encoder: its inputs, (batch, ...), and a (batch, length) mask -> what `extend` reads."""
        mask = key_mask(attention_mask)
        memory: Memory = self.decoder.memory(self._encoded(jnp.asarray(inputs), mask, train=False), mask)
        return memory

    def extend(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        mask: jax.Array,
        caches: Caches | None,
        last: jax.Array,
        context: Memory,
    ) -> tuple[jax.Array, Caches]:
        """Runs the decoder on its texts so far, or on one more token of each, and fills the caches.

        Args:
            input_ids: (batch, length), or (batch, 1) with caches.
            position_ids: The same shape.
            mask: (batch, 1, 1, length), or of the caches' length.
            caches: One for each layer; with scan a single one, whose first axis is the layers.
            last: Index of the last token, whose logits are returned, and its column in the caches.
            context: Result of `context`.

        Returns:
            (batch, tokens) logits, and the caches with the tokens.
        """
        x, made = self._decoded(input_ids, position_ids, mask, caches, last, context)
        index = last if caches is None else 0
        return self._logits(jax.lax.dynamic_index_in_dim(x, index, 1, keepdims=False)), made

    @abstractmethod
    def _encoded(self, inputs: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """Runs the encoder: (batch, ...), and a (batch, 1, 1, length) mask -> (batch, length, width)."""

    @abstractmethod
    def _decoded(
        self,
        ids: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        caches: Caches | None,
        column: jax.Array,
        memory: Memory,
    ) -> tuple[jax.Array, Caches]:
        """Runs the decoder, as `extend`: (batch, length) -> (batch, length, width), and the caches."""

    @abstractmethod
    def _logits(self, states: jax.Array) -> jax.Array:
        """(..., width) -> (..., tokens)."""
