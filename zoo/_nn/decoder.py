"""What language models that look back have in common: their arguments, heads, and how they go on."""

from abc import abstractmethod

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from zoo._nn.attention import key_mask
from zoo._nn.caches import Caches
from zoo._nn.outputs import TextOutput
from zoo._nn.tokens import decoder_arguments, last_columns


class Decoder(nn.Module):
    """A decoder-only language model, of which a family writes `_states` and `_logits`.

    Layers of heads that it has: `score`; for "token_classification" `dropout`, too, and for "embedding"
    `projections`.
    """

    vocab_size: int
    max_length: int
    head: str
    pad_token_id: int | None

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: None = None,
        position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> TextOutput:
        """(batch, length) token ids -> the outputs of the head; states where it is "none".

        Args:
            input_ids: (batch, length) token ids.
            attention_mask: (batch, length), 1 for tokens to keep and 0 for padding.
            token_type_ids: None, which keeps the order of the arguments; there are no types.
            position_ids: (batch, length) positions; by default 0, 1, 2 ..., of the tokens to keep where the
                family counts these alone.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too long a text, another shape, token types, or, unless it is compiled, an id that the
                model lacks.
        """
        ids, mask, places = decoder_arguments(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            vocab_size=self.vocab_size,
            max_length=self.max_length,
        )
        places = self._places(ids, mask) if places is None else places
        x, _ = self._states(ids, places, places.max() + 1, key_mask(mask), 0, None, train=train)
        if self.head == "lm":
            return TextOutput(logits=self._logits(x))
        if self.head == "classification":
            last = last_columns(ids, mask, self.pad_token_id)[:, None, None]
            return TextOutput(logits=self.score(jnp.take_along_axis(x, last, 1)[:, 0]))
        if self.head == "token_classification":
            return TextOutput(logits=self._classes(self.dropout(x, deterministic=not train)))
        if self.head == "embedding":
            return TextOutput(embeddings=self.vectors.apply(self.projections, x, mask))
        return TextOutput(last_hidden_state=x)

    def extend(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        mask: jax.Array,
        caches: Caches | None,
        last: jax.Array,
    ) -> tuple[jax.Array, Caches]:
        """Runs texts from their beginning, or one more token of each, and fills the caches, for generation.

        Args:
            input_ids: (batch, length), or (batch, 1) with caches.
            position_ids: The same shape.
            mask: (batch, 1, 1, length), or of the caches' length.
            caches: One for each block; with scan a single one, whose first axis is the blocks.
            last: Index of the last token, whose logits are returned, and its column in the caches.

        Returns:
            (batch, vocab_size) logits, and the caches with the tokens.
        """
        index, column = (last, 0) if caches is None else (0, last)
        lengths = jax.lax.dynamic_slice_in_dim(position_ids, index, 1, axis=1) + 1
        x, made = self._states(input_ids, position_ids, lengths, mask, column, caches, train=False)
        return self._logits(jax.lax.dynamic_index_in_dim(x, index, 1, keepdims=False)), made

    def _places(self, ids: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Returns the positions of tokens: (batch, length), or (1, length)."""
        return jnp.arange(ids.shape[1])[None]

    @abstractmethod
    def _states(
        self,
        ids: jax.Array,
        places: jax.Array,
        lengths: jax.Array,
        mask: jax.Array | None,
        column: jax.Array | int,
        caches: Caches | None,
        *,
        train: bool,
    ) -> tuple[jax.Array, Caches]:
        """Runs the blocks: (batch, length) -> (batch, length, width), and the caches with the tokens.

        Args:
            ids: (batch, length) token ids.
            places: Their positions; broadcasts to the same shape.
            lengths: Lengths of the texts; broadcasts to (batch, 1).
            mask: (batch, 1, 1, keys), True for tokens to attend to; None for all.
            column: Column of the first token in the caches.
            caches: One for each block; None for texts from their beginning.
            train: If true, applies dropout.
        """

    @abstractmethod
    def _logits(self, states: jax.Array) -> jax.Array:
        """(..., width) -> (..., vocab_size)."""

    def _classes(self, states: jax.Array) -> jax.Array:
        """Classifies tokens: (..., width) -> (..., classes)."""
        logits: jax.Array = self.score(states)
        return logits


def token_logits(embed: nn.Embed, states: jax.Array) -> jax.Array:
    """Returns the products of states with the embeddings of all tokens: (..., width) -> (..., count).

    States of single tokens, (batch, width), are the right operand: XLA would transpose the embeddings there.
    """
    logits: jax.Array
    if states.ndim != 2:
        logits = embed.attend(states)
        return logits
    states, table = promote_dtype(states, embed.embedding, dtype=embed.dtype)
    # Without the barriers XLA would exchange the operands again.
    logits = jax.lax.optimization_barrier(table @ jax.lax.optimization_barrier(states.T)).T
    return logits
