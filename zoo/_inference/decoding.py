"""Single steps of a language model that has a method `extend` as GPT-2's, with caches of fixed size."""

from typing import Any

import jax
import jax.numpy as jnp

from zoo._model import Model

SMALLEST = 128  # columns of the first cache; each further one has twice as many
SHORTEST = 16  # columns for the prompts; where these are longer, two times as many, or four ...


def size(length: int, smallest: int, most: int) -> int:
    """Returns `smallest` doubled until it is enough, so that texts of many lengths share a compilation."""
    while smallest < length:
        smallest *= 2
    return min(smallest, most)


def first_logits(
    model: Model, tokens: jax.Array, mask: jax.Array, length: jax.Array, context: Any
) -> tuple[jax.Array, Any]:
    """Runs the prompts.

    Args:
        model: The model.
        tokens: (batch, size) token ids, of which `length` columns are the prompts.
        mask: (batch, size), True for tokens that are no padding.
        length: Number of columns of the prompts.
        context: An encoder's states, as the method `context` gives them; None for models without an encoder.

    Returns:
        (batch, vocab_size) logits of the next token, and caches of as many columns as the tokens.
    """
    positions = jnp.maximum(jnp.cumsum(mask, -1) - 1, 0)
    return _extended(model, tokens, positions, mask[:, None, None], None, length - 1, context)


def next_logits(
    model: Model,
    tokens: jax.Array,
    mask: jax.Array,
    caches: Any,
    length: jax.Array,
    count: jax.Array,
    context: Any,
) -> tuple[jax.Array, Any]:
    """Runs the last token of each text; as `first_logits`, with the caches of the tokens before it.

    `count` is (batch,), the number of tokens in each text that are no padding.
    """
    last = length - 1
    token = jax.lax.dynamic_index_in_dim(tokens, last, 1)
    seen = (mask & (jnp.arange(mask.shape[1])[None] <= last))[:, None, None]
    return _extended(model, token, count[:, None] - 1, seen, caches, last, context)


def _extended(
    model: Model,
    tokens: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
    caches: Any,
    last: jax.Array,
    context: Any,
) -> tuple[jax.Array, Any]:
    more = {} if context is None else {"context": context}
    found: tuple[jax.Array, Any] = model(tokens, positions, mask, caches, last, method="extend", **more)
    return found


def roomier(caches: Any, more: int) -> Any:
    """Returns caches with more columns; (..., length, head_dim)."""
    return jax.tree.map(lambda each: jnp.pad(each, [*[(0, 0)] * (each.ndim - 2), (0, more), (0, 0)]), caches)


def rows_of(caches: Any, rows: jax.Array) -> Any:
    """Returns the caches of some texts; (..., batch, heads, length, head_dim)."""
    return jax.tree.map(lambda each: jnp.take(each, rows, axis=each.ndim - 4), caches)


def repeated(tree: Any, times: int) -> Any:
    """Returns arrays whose first axis is the batch with each text so many times, one after the other."""
    return tree if times == 1 else jax.tree.map(lambda each: jnp.repeat(each, times, axis=0), tree)
