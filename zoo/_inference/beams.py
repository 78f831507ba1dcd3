"""Beam search: several texts for each prompt at once, of which the likeliest go on, as in transformers.

A text is as good as its log-probability, divided by its length to the power of `length_penalty`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from zoo._inference.decoding import (
    SHORTEST,
    SMALLEST,
    first_logits,
    next_logits,
    repeated,
    roomier,
    rows_of,
    size,
)
from zoo._inference.generation_options import Settled
from zoo._inference.logits import adjusted
from zoo._inference.prompts import Prompts
from zoo._inference.sampling import Draw, Sampling, choices
from zoo._model import Model

NEVER = -1e9  # log-probability that no text has; finite, so that what is added to it stays in its order


class Beams(NamedTuple):
    """Texts that go on, and the best of those that have ended, `beams` of each for a prompt.

    Attributes:
        length: Number of columns that are written.
        tokens: (batch * beams, size) token ids of those that go on.
        mask: (batch * beams, size), True for tokens that are no padding; all that come are.
        caches: Keys and values of all but the last token; see `generate.State`.
        scores: (batch, beams) log-probabilities.
        ended: (batch, beams, size) token ids of those that have ended, the best first.
        ends: (batch, beams) numbers of their columns.
        ended_scores: (batch, beams) log-probabilities by length; NEVER where there is no text yet.
        hopeful: (batch,), whether one that goes on may still be better than the worst that has ended.
        finished: If true, nothing is left to look for.
    """

    length: jax.Array
    tokens: jax.Array
    mask: jax.Array
    caches: Any
    scores: jax.Array
    ended: jax.Array
    ends: jax.Array
    ended_scores: jax.Array
    hopeful: jax.Array
    finished: jax.Array

    @property
    def is_ended(self) -> jax.Array:
        """(batch, beams), whether there is a text that has ended."""
        return self.ends > 0


def search(model: Model, begun: Prompts, options: Settled, max_new_tokens: int) -> np.ndarray:
    """Returns (batch * num_return_sequences, length) token ids, the best of a prompt first."""
    tokens, mask, context = begun
    length, most = tokens.shape[1], model.module.max_length
    end, columns = length + max_new_tokens, size(length + 1, SMALLEST, most)
    sampling, draw = choices(options, start=length, end=end, padding=begun.padding)
    room = ((0, 0), (0, size(length, SHORTEST, most) - length))
    tokens, mask = np.pad(tokens, room), np.pad(mask, room, constant_values=True)
    state = begin(model, tokens, mask, length, columns, sampling, draw, context)
    context = repeated(context, sampling.beams)
    while not state.finished:
        length = int(state.length)
        if length == columns:
            columns = size(length + 1, SMALLEST, most)
            state = enlarged(state, columns)
        state = proceed(model, state, min(end, columns), sampling, draw, context)
    return _best(state, options["num_return_sequences"], int(draw.fill))


def _best(state: Beams, several: int, filler: int) -> np.ndarray:
    """Returns the best texts of each prompt, filled after their ends."""
    size = state.ended.shape[-1]
    tokens = np.array(state.ended)[:, :several].reshape(-1, size)
    ends = np.array(state.ends)[:, :several].reshape(-1, 1)
    tokens[np.arange(size)[None] >= ends] = filler
    return tokens[:, : ends.max()]


@partial(jax.jit, static_argnames=("columns", "sampling"))
def begin(
    model: Model,
    tokens: ArrayLike,
    mask: ArrayLike,
    length: ArrayLike,
    columns: int,
    sampling: Sampling,
    draw: Draw,
    context: Any,
) -> Beams:
    """The state after the prompts, which fill `length` of the columns, and one token; with more columns."""
    tokens, mask, length = jnp.asarray(tokens), jnp.asarray(mask), jnp.asarray(length)
    logits, caches = first_logits(model, tokens, mask, length, context)
    batch, beams = len(tokens), sampling.beams
    rows = jnp.repeat(jnp.arange(batch), beams)
    scores = jnp.full((batch, beams), NEVER, jnp.float32)
    state = Beams(
        length=length,
        tokens=tokens[rows],
        mask=mask[rows],
        caches=rows_of(caches, rows),
        scores=scores.at[:, 0].set(0),  # the beams of a prompt are all the same yet
        ended=jnp.zeros((batch, beams, tokens.shape[1]), tokens.dtype),
        ends=jnp.zeros((batch, beams), jnp.int32),
        ended_scores=scores,
        hopeful=jnp.ones(batch, bool),
        finished=length < 0,
    )
    return _stepped(enlarged(state, columns), logits[rows], sampling, draw)


@partial(jax.jit, static_argnames="sampling", donate_argnames="state")
def proceed(
    model: Model, state: Beams, stop: ArrayLike, sampling: Sampling, draw: Draw, context: Any
) -> Beams:
    """Appends tokens until there are `stop`, or nothing is left to look for."""
    before = state.mask.shape[1] - state.mask.sum(-1)

    def step(state: Beams) -> Beams:
        logits, caches = next_logits(
            model, state.tokens, state.mask, state.caches, state.length, state.length - before, context
        )
        return _stepped(state._replace(caches=caches), logits, sampling, draw)

    return jax.lax.while_loop(lambda state: (state.length < stop) & ~state.finished, step, state)


def _stepped(state: Beams, logits: jax.Array, sampling: Sampling, draw: Draw) -> Beams:
    """Returns the texts with one more token."""
    batch, beams = state.scores.shape
    found = jax.nn.log_softmax(logits.astype(jnp.float32))
    found = adjusted(found, state.tokens, state.mask, state.length, sampling, draw)
    found = found.reshape(batch, beams, -1)
    # As many as leave `beams` that go on, whichever of the others end.
    count = max(2, 1 + draw.stops.size) * beams
    scores, places = jax.lax.top_k((found + state.scores[..., None]).reshape(batch, -1), count)
    rows = jnp.arange(batch)[:, None] * beams + places // found.shape[-1]
    new = (places % found.shape[-1]).astype(state.tokens.dtype)
    tokens = jax.lax.dynamic_update_index_in_dim(state.tokens[rows], new, state.length, 2)
    stops = (new[..., None] == draw.stops[None, None]).any(-1) | (state.length + 1 >= draw.end)
    state = _with_ended(state, tokens, scores, stops & (jnp.arange(count)[None] < beams), sampling, draw)
    scores, kept = jax.lax.top_k(scores + jnp.where(stops, jnp.float32(NEVER), 0), beams)
    rows = jnp.take_along_axis(rows, kept, 1).reshape(-1)
    state = state._replace(
        length=state.length + 1,
        tokens=jnp.take_along_axis(tokens, kept[..., None], 1).reshape(state.tokens.shape),
        caches=rows_of(state.caches, rows),
        scores=scores,
    )
    return _judged(state, stops, sampling, draw)


def _with_ended(
    state: Beams, tokens: jax.Array, scores: jax.Array, ended: jax.Array, sampling: Sampling, draw: Draw
) -> Beams:
    """Returns the state with the best of the texts that have ended before and those that do now."""
    beams = state.scores.shape[1]
    made = scores / ((state.length + 1 - draw.start).astype(jnp.float32) ** draw.length_penalty)
    full = state.is_ended.all(-1) & (sampling.early_stopping is True)
    for closed in (full[:, None], ~state.hopeful[:, None], ~ended):
        made += jnp.where(closed, jnp.float32(NEVER), 0)
    best, kept = jax.lax.top_k(jnp.concatenate((state.ended_scores, made), 1), beams)
    ends = jnp.where(ended, (state.length + 1).astype(jnp.int32), 0)
    return state._replace(
        ended=jnp.take_along_axis(jnp.concatenate((state.ended, tokens), 1), kept[..., None], 1),
        ends=jnp.take_along_axis(jnp.concatenate((state.ends, ends), 1), kept, 1),
        ended_scores=best,
    )


def _judged(state: Beams, stops: jax.Array, sampling: Sampling, draw: Draw) -> Beams:
    """Returns the state with a judgment on what may still come."""
    length = (state.length - draw.start).astype(jnp.float32)
    if sampling.early_stopping == "never":
        length = jnp.where(draw.length_penalty > 0, (draw.end - draw.start).astype(jnp.float32), length)
    best = state.scores[:, :1] / length**draw.length_penalty
    worst = jnp.where(state.is_ended, state.ended_scores.min(1, keepdims=True), jnp.float32(NEVER))
    hopeful = state.hopeful & (best > worst).any(-1)
    enough = state.is_ended.all() & (sampling.early_stopping is True)
    return state._replace(hopeful=hopeful, finished=~hopeful.any() | enough | stops.all())


def enlarged(state: Beams, columns: int) -> Beams:
    """Returns the texts with room for so many tokens."""
    more = columns - state.tokens.shape[1]
    return state._replace(
        tokens=jnp.pad(state.tokens, ((0, 0), (0, more))),
        mask=jnp.pad(state.mask, ((0, 0), (0, more)), constant_values=True),
        caches=roomier(state.caches, more),
        ended=jnp.pad(state.ended, ((0, 0), (0, 0), (0, more))),
    )
