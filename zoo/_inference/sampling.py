"""Draws the next token from the logits."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zoo._errors import ZooError


class Sampling(NamedTuple):
    """Choices that are compiled into the loop.

    Attributes:
        greedy: Whether to take the likeliest token instead of drawing one.
        top_k: From how many of the likeliest ones it is drawn; None for all.
        nucleus: Whether to draw only from the likeliest ones whose probabilities come to `Draw.top_p`.
    """

    greedy: bool
    top_k: int | None
    nucleus: bool


class Draw(NamedTuple):
    """Choices that are not compiled: the numbers, the tokens to stop at, and the key."""

    temperature: jax.Array
    top_p: jax.Array
    stops: jax.Array
    key: jax.Array


def choices(
    *,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    eos_token_id: int | Sequence[int] | None,
    seed: int,
) -> tuple[Sampling, Draw]:
    """The arguments of `generate` as the loop takes them.

    Raises:
        ZooError: one of them is out of its range.
    """
    for name, value, right, expected in (
        ("temperature", temperature, 0 <= temperature < math.inf, "0, for the likeliest token, or above"),
        ("top_k", top_k, top_k is None or top_k >= 1, "1 or more, or None"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "above 0 and at most 1, or None"),
    ):
        if not right:
            raise ZooError(f"{name}={value!r}; expected {expected}.")
    stops = np.atleast_1d(() if eos_token_id is None else eos_token_id)
    draw = Draw(
        jnp.float32(temperature), jnp.float32(top_p or 1), jnp.asarray(stops, jnp.int32), jax.random.key(seed)
    )
    return Sampling(temperature == 0, top_k, top_p is not None and top_p < 1), draw


def sample(logits: jax.Array, sampling: Sampling, draw: Draw, index: jax.Array) -> jax.Array:
    """(batch, vocab_size) logits -> (batch,) tokens; the same for the same seed and index."""
    if sampling.greedy:
        return jnp.argmax(logits, -1)
    logits = logits.astype(jnp.float32) / draw.temperature
    return jax.random.categorical(
        jax.random.fold_in(draw.key, index), _filtered(logits, sampling, draw.top_p)
    )


def _filtered(logits: jax.Array, sampling: Sampling, top_p: jax.Array) -> jax.Array:
    """Minus infinity for the tokens that are not to be drawn."""
    if sampling.top_k is None and not sampling.nucleus:
        return logits
    best = jax.lax.top_k(logits, min(sampling.top_k or logits.shape[-1], logits.shape[-1]))[0]
    if sampling.nucleus:
        # The token with which the sum comes to top_p is the last one.
        probabilities = jax.nn.softmax(best)
        before = jnp.cumsum(probabilities, -1) - probabilities
        best = jnp.where(before < top_p, best, jnp.inf)
    return jnp.where(logits < best.min(-1, keepdims=True), -jnp.inf, logits)
