"""Draws the next token from the logits."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zoo._nn.options import check_options


class Sampling(NamedTuple):
    """Choices that are compiled into the loop.

    Attributes:
        greedy: Whether to take the likeliest token instead of drawing one.
        top_k: From how many of the likeliest ones it is drawn; None for all.
        nucleus: Whether to draw only from the likeliest ones whose probabilities come to `Draw.top_p`.
        penalized: If true, tokens of the text become less likely by `Draw.repetition_penalty`.
        ngram: Length of the runs of tokens that come once in a text only; 0 for any.
        delayed: If true, stop tokens are excluded before `Draw.earliest`.
    """

    greedy: bool
    top_k: int | None
    nucleus: bool
    penalized: bool = False
    ngram: int = 0
    delayed: bool = False


class Draw(NamedTuple):
    """Choices that are not compiled: the numbers, the tokens to stop at, and the key.

    Attributes:
        temperature: Divisor of the logits.
        top_p: Probability that the likeliest tokens come to.
        stops: Tokens that end a text.
        key: Key of the draws.
        repetition_penalty: Divisor of positive logits of tokens that a text has, factor of negative ones.
        earliest: Length from which on a text may end.
        fill: Token after the end of a text.
    """

    temperature: jax.Array
    top_p: jax.Array
    stops: jax.Array
    key: jax.Array
    repetition_penalty: jax.Array
    earliest: jax.Array
    fill: jax.Array


def choices(
    *,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    eos_token_id: int | Sequence[int] | None,
    seed: int,
    pad_token_id: int | None = None,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    min_new_tokens: int = 0,
) -> tuple[Sampling, Draw]:
    """The arguments of `generate` as the loop takes them.

    Raises:
        ZooError: one of them is out of its range.
    """
    check_options(
        ("temperature", temperature, 0 <= temperature < math.inf, "0, for the likeliest token, or above"),
        ("top_k", top_k, top_k is None or top_k >= 1, "1 or more, or None"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "above 0 and at most 1, or None"),
        ("repetition_penalty", repetition_penalty, 0 < repetition_penalty < math.inf, "above 0"),
        ("no_repeat_ngram_size", no_repeat_ngram_size, no_repeat_ngram_size >= 0, "0, for none, or above"),
        ("min_new_tokens", min_new_tokens, min_new_tokens >= 0, "0 or above"),
    )
    stops = np.atleast_1d(() if eos_token_id is None else eos_token_id)
    draw = Draw(
        temperature=jnp.float32(temperature),
        top_p=jnp.float32(top_p or 1),
        stops=jnp.asarray(stops, jnp.int32),
        key=jax.random.key(seed),
        repetition_penalty=jnp.float32(repetition_penalty),
        earliest=jnp.int32(min_new_tokens),
        fill=jnp.int32(fill(pad_token_id, eos_token_id)),
    )
    sampling = Sampling(
        greedy=temperature == 0,
        top_k=top_k,
        nucleus=top_p is not None and top_p < 1,
        penalized=repetition_penalty != 1,
        ngram=no_repeat_ngram_size,
        delayed=min_new_tokens > 0 and stops.size > 0,
    )
    return sampling, draw


def fill(pad_token_id: int | None, eos_token_id: int | Sequence[int] | None) -> int:
    """Returns the token that follows the end of a text."""
    ends = np.atleast_1d(() if eos_token_id is None else eos_token_id)
    return int(pad_token_id if pad_token_id is not None else ends[0] if ends.size else 0)


def adjusted(
    logits: jax.Array,
    tokens: jax.Array,
    mask: jax.Array,
    length: jax.Array,
    sampling: Sampling,
    draw: Draw,
) -> jax.Array:
    """Changes the (batch, vocab_size) logits by what the texts have so far.

    Keskar et al., https://arxiv.org/abs/1909.05858, section 4.1, and Paulus et al.,
    https://arxiv.org/abs/1705.04304, section 2.5; in the order of transformers.

    Args:
        logits: (batch, vocab_size)
        tokens: (batch, size) token ids, of which `length` columns are written.
        mask: (batch, size), True for tokens that are no padding.
        length: Number of columns.
        sampling: Which changes there are.
        draw: Their numbers.
    """
    columns = jnp.arange(tokens.shape[1])[None]
    if sampling.penalized:
        seen = _marked(logits, tokens, mask & (columns < length))
        penalty = draw.repetition_penalty.astype(logits.dtype)
        logits = jnp.where(seen, jnp.where(logits < 0, logits * penalty, logits / penalty), logits)
    if sampling.ngram:
        before = sampling.ngram - 1
        last = jax.lax.dynamic_slice_in_dim(tokens, length - before, before, 1)
        match = mask & (columns + before < length)
        for offset in range(before):
            match &= jnp.roll(tokens, -offset, 1) == last[:, offset : offset + 1]
        logits = jnp.where(_marked(logits, jnp.roll(tokens, -before, 1), match), -jnp.inf, logits)
    if sampling.delayed:
        early = jnp.where(length < draw.earliest, -jnp.inf, 0).astype(logits.dtype)
        logits = logits.at[:, draw.stops].add(early)
    return logits


def _marked(logits: jax.Array, tokens: jax.Array, which: jax.Array) -> jax.Array:
    """(batch, vocab_size), True for the tokens of the columns that are True in `which`."""
    rows = jnp.arange(len(tokens))[:, None]
    return jnp.zeros(logits.shape, bool).at[rows, tokens].max(which)


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
