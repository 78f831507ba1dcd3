"""Changes of the logits before a token is chosen, each as transformers makes it and in its order."""

import jax
import jax.numpy as jnp

from zoo._inference.sampling import Draw, Sampling


def adjusted(
    logits: jax.Array,
    tokens: jax.Array,
    mask: jax.Array,
    length: jax.Array,
    sampling: Sampling,
    draw: Draw,
) -> jax.Array:
    """Changes the (batch, vocab_size) logits by what the texts have so far, and by what they may have next.

    Args:
        logits: (batch, vocab_size)
        tokens: (batch, size) token ids, of which `length` columns are written.
        mask: (batch, size), True for tokens that are no padding.
        length: Number of columns.
        sampling: Which changes there are.
        draw: Their numbers.
    """
    if sampling.penalized:
        logits = _penalized(logits, tokens, mask, length, draw)
    if sampling.ngram:
        logits = _without_repetitions(logits, tokens, mask, length, sampling.ngram)
    for words in draw.bad_words:
        logits = _without_words(logits, tokens, mask, length, words)
    if sampling.delayed:
        logits = _without(logits, draw.stops, length < draw.earliest)
    logits = _forced(logits, draw.forced[:, 1], draw.forced[:, 0] == length)
    logits = _forced(logits, draw.last, jnp.broadcast_to(length == draw.end - 1, draw.last.shape))
    logits = _without(logits, draw.suppressed, length >= 0)
    return _without(logits, draw.suppressed_first, length == draw.first)


def _penalized(
    logits: jax.Array, tokens: jax.Array, mask: jax.Array, length: jax.Array, draw: Draw
) -> jax.Array:
    """Makes what a text has less likely: Keskar et al., https://arxiv.org/abs/1909.05858, section 4.1."""
    seen = _marked(logits, tokens, mask & (jnp.arange(tokens.shape[1])[None] < length))
    penalty = draw.repetition_penalty.astype(logits.dtype)
    return jnp.where(seen, jnp.where(logits < 0, logits * penalty, logits / penalty), logits)


def _without_repetitions(
    logits: jax.Array, tokens: jax.Array, mask: jax.Array, length: jax.Array, size: int
) -> jax.Array:
    """Excludes second runs of tokens: Paulus et al., https://arxiv.org/abs/1705.04304, section 2.5."""
    before, columns = size - 1, jnp.arange(tokens.shape[1])[None]
    last = jax.lax.dynamic_slice_in_dim(tokens, length - before, before, 1)
    match = mask & (columns + before < length)
    for offset in range(before):
        match &= jnp.roll(tokens, -offset, 1) == last[:, offset : offset + 1]
    return jnp.where(_marked(logits, jnp.roll(tokens, -before, 1), match), -jnp.inf, logits)


def _without_words(
    logits: jax.Array, tokens: jax.Array, mask: jax.Array, length: jax.Array, words: jax.Array
) -> jax.Array:
    """Excludes the last tokens of (n, length) words where a text has all the others."""
    before = words.shape[1] - 1
    last, kept = (
        jax.lax.dynamic_slice_in_dim(each, length - before, before, 1)[:, None] for each in (tokens, mask)
    )
    match = ((last == words[None, :, :-1]) & kept).all(-1) & (length >= before)
    ends = jnp.broadcast_to(words[None, :, -1], match.shape)
    return jnp.where(_marked(logits, ends, match), -jnp.inf, logits)


def _without(logits: jax.Array, tokens: jax.Array, when: jax.Array) -> jax.Array:
    """Excludes some tokens, if any."""
    if not tokens.size:
        return logits
    return logits.at[:, tokens].add(jnp.where(when, -jnp.inf, 0).astype(logits.dtype))


def _forced(logits: jax.Array, tokens: jax.Array, when: jax.Array) -> jax.Array:
    """Excludes all but those of the tokens whose `when` is true, if any is; each of these is as likely."""
    if not tokens.size:
        return logits
    # A token that is not forced now adds nothing to its place.
    chosen = jnp.full(logits.shape[-1], -jnp.inf, logits.dtype).at[tokens].max(jnp.where(when, 0, -jnp.inf))
    return jnp.where(when.any(), chosen[None], logits)


def _marked(logits: jax.Array, tokens: jax.Array, which: jax.Array) -> jax.Array:
    """(batch, vocab_size), True for the tokens of the columns that are True in `which`."""
    rows = jnp.arange(len(tokens))[:, None]
    return jnp.zeros(logits.shape, bool).at[rows, tokens].max(which)


def sample(logits: jax.Array, sampling: Sampling, draw: Draw, index: jax.Array) -> jax.Array:
    """(batch, vocab_size) logits -> (batch,) tokens; the same for the same seed and index."""
    if sampling.greedy:
        return jnp.argmax(logits, -1)
    return jax.random.categorical(jax.random.fold_in(draw.key, index), warped(logits, sampling, draw))


def warped(logits: jax.Array, sampling: Sampling, draw: Draw) -> jax.Array:
    """Returns logits by the temperature, minus infinity for the tokens that are not to be drawn."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    logits = logits / draw.temperature.astype(logits.dtype)
    if sampling.top_k or sampling.nucleus:
        logits = _of_the_best(logits, sampling, draw.top_p.astype(logits.dtype))
    if sampling.floor:
        best = logits.max(-1, keepdims=True)
        logits = jnp.where(logits < best + jnp.log(draw.min_p).astype(logits.dtype), -jnp.inf, logits)
    return logits


def _of_the_best(logits: jax.Array, sampling: Sampling, top_p: jax.Array) -> jax.Array:
    best = jax.lax.top_k(logits, min(sampling.top_k or logits.shape[-1], logits.shape[-1]))[0]
    if sampling.nucleus:
        # The token with which the sum comes to top_p is the last one.
        probabilities = jax.nn.softmax(best)
        before = jnp.cumsum(probabilities, -1) - probabilities
        best = jnp.where(before < top_p, best, jnp.inf)
    return jnp.where(logits < best.min(-1, keepdims=True), -jnp.inf, logits)
