"""The states of an encoder as a decoder reads them, and checks of what encoder-decoders are called with."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from zoo._errors import ZooError
from zoo._nn.caches import Cache, Caches
from zoo._nn.layer_stack import LayerStack
from zoo._nn.tokens import like_ids, token_ids


class Memory(NamedTuple):
    """Keys and values of the encoder's states for each block of a decoder; batch is the first axis of all.

    Attributes:
        caches: One for each block, (batch, heads, length, head_dim); with scan a single one, whose second
            axis is the blocks.
        mask: (batch, 1, 1, length), True for states to attend to.
    """

    caches: Caches
    mask: jax.Array

    @classmethod
    def of(
        cls,
        series: LayerStack,
        blocks: Any,
        project: Callable[[Any, jax.Array], Cache],
        states: jax.Array,
        mask: jax.Array | None,
    ) -> "Memory":
        """Returns what the blocks of a decoder make of the states.

        Args:
            series: Their stack.
            blocks: Result of its `build`.
            project: (block, states) -> keys and values.
            states: (batch, length, width)
            mask: (batch, 1, 1, length); None keeps all.
        """
        _, caches = series.scan_with(blocks, lambda block, x, _: (x, project(block, x)), states, None)
        if series.scan:
            caches = jax.tree.map(lambda each: each.swapaxes(0, 1), caches)
        everything = jnp.ones((states.shape[0], 1, 1, states.shape[1]), bool)
        return cls(caches, everything if mask is None else mask)

    def by_block(self, series: LayerStack) -> Caches:
        """Returns the caches with the blocks first, as `series.scan_with` takes them."""
        return jax.tree.map(lambda each: each.swapaxes(0, 1), self.caches) if series.scan else self.caches


def for_blocks(series: LayerStack, *inputs: Caches | None) -> Any:
    """Returns several further inputs of blocks as the one that `series.scan_with` takes."""
    if series.scan:
        return inputs
    return [tuple(each and each[index] for each in inputs) for index in range(series.depth)]


def target_ids(
    ids: ArrayLike | None, mask: ArrayLike | None, source: jax.Array, count: int
) -> tuple[jax.Array, jax.Array | None]:
    """Returns the decoder's token ids and their mask as arrays, checked.

    Args:
        ids: (batch, length) token ids.
        mask: The same shape, 1 for tokens to keep; or None.
        source: (batch, length) token ids of the encoder.
        count: Number of embeddings.

    Raises:
        ZooError: there are none, not as many texts as the encoder has, ids without an embedding, or a mask
            of another shape.
    """
    if ids is None:
        raise ZooError(
            "the decoder has no texts: pass decoder_input_ids, which begin with decoder_start_token_id; "
            "zoo.generate writes them, and zoo.load(..., head='encoder') gives the encoder alone."
        )
    target = token_ids(ids, count, name="decoder_input_ids")
    if target.shape[0] != source.shape[0]:
        raise ZooError(
            f"input_ids of shape {source.shape} and decoder_input_ids of shape {target.shape}; expected as "
            "many texts in both."
        )
    return target, like_ids(mask, target, "decoder_attention_mask", of="decoder_input_ids")
