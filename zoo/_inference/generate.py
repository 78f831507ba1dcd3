"""Texts continued token by token, by models that have a method `extend` as GPT-2's.

One compiled loop with a cache of fixed size; where the text outgrows it, both go on with a larger one.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from zoo._errors import ZooError
from zoo._inference.sampling import Draw, Sampling, adjusted, choices, sample
from zoo._loading.given import Given, model_of
from zoo._model import Model

SMALLEST = 128  # columns of the first cache; each further one has twice as many
SHORTEST = 16  # columns for the prompts; where these are longer, two times as many, or four ...


class State(NamedTuple):
    """Texts of `length` tokens, and the keys and values of all but the last.

    Attributes:
        tokens: (batch, size)
        mask: (batch, size), True for tokens to keep; all that come are.
        caches: For each block the keys and the values, (batch, heads, size, head_dim); stacked with scan.
        finished: (batch,), whether a text has come to a stop token.
    """

    length: jax.Array
    tokens: jax.Array
    mask: jax.Array
    caches: Any
    finished: jax.Array


def generate(
    model: Given,
    input_ids: ArrayLike | Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    attention_mask: ArrayLike | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    min_new_tokens: int = 0,
    num_return_sequences: int = 1,
    num_beams: int = 1,
    seed: int = 0,
) -> NDArray[np.integer]:
    """Continues texts: (batch, prompt) token ids -> (batch, prompt + new).

    Args:
        model: With the head "lm"; or a name, as for `load`, whose weights are then loaded.
        input_ids: The prompts. Lists of several lengths are padded on the left, in the result too, and each
            is continued as it would be alone.
        max_new_tokens: At most as many as the model's `max_length` leaves.
        attention_mask: (batch, prompt), 1 for tokens to keep; needed where there is padding already.
        temperature: 0 takes the likeliest token; else the logits are divided by it, and one is drawn.
        top_k: Draws from that many of the likeliest tokens.
        top_p: Draws from the likeliest tokens that together have this probability.
        eos_token_id: One or several that end a text, by default those that the model's files name; () is
            none. An ended text is filled with the padding token, or else with the first of them. With all
            texts at their ends, the result is shorter.
        repetition_penalty: Makes tokens that a text has less likely (above 1) or likelier (below).
        no_repeat_ngram_size: Length of the runs of tokens that no text has twice; 0 for any.
        min_new_tokens: Number of new tokens before which no text ends.
        num_return_sequences: Texts drawn for each prompt, one after the other in the result.
        num_beams: 1: there is no beam search.
        seed: Seed of the draws.

    Raises:
        ZooError: the texts do not fit the model, or an option is out of its range.
    """
    if num_beams != 1:
        raise ZooError(f"num_beams={num_beams}; the zoo has no beam search, leave it out.")
    if num_return_sequences < 1 or (num_return_sequences > 1 and not temperature):
        raise ZooError(
            f"num_return_sequences={num_return_sequences} with temperature={temperature}; expected 1, or "
            "more with a temperature above 0, since the likeliest text is always the same."
        )
    model = model_of(model)
    ends = getattr(model.module, "eos_token_id", ()) if eos_token_id is None else eos_token_id
    sampling, draw = choices(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        eos_token_id=ends,
        seed=seed,
        pad_token_id=getattr(model.module, "pad_token_id", None),
        repetition_penalty=repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        min_new_tokens=min_new_tokens,
    )
    tokens, mask = _padded(input_ids, attention_mask, int(draw.fill))
    if num_return_sequences > 1:
        tokens, mask = (np.repeat(each, num_return_sequences, axis=0) for each in (tokens, mask))
    *_, texts = steps(
        model,
        tokens,
        mask,
        sampling,
        draw,
        max_new_tokens=max_new_tokens,
        pace=max_new_tokens,
    )
    return texts


def _are_lists(input_ids: ArrayLike | Sequence[Sequence[int]]) -> TypeGuard[Sequence[Sequence[int]]]:
    """Returns whether prompts are a sequence of ids for each text."""
    return isinstance(input_ids, Sequence) and all(isinstance(each, Sequence) for each in input_ids)


def _padded(
    input_ids: ArrayLike | Sequence[Sequence[int]], attention_mask: ArrayLike | None, fill: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns prompts and their mask as arrays, those of several lengths padded on the left."""
    lengths = {len(each) for each in input_ids} if _are_lists(input_ids) else set()
    if not _are_lists(input_ids) or len(lengths) < 2:
        tokens = np.asarray(input_ids)
        kept = np.ones(tokens.shape, bool) if attention_mask is None else np.asarray(attention_mask)
        return tokens, kept.astype(bool)
    if attention_mask is not None or 0 in lengths:
        raise ZooError(
            "prompts of several lengths make their own mask, and have at least one token each; leave "
            "attention_mask out."
        )
    texts = [np.asarray(each) for each in input_ids]
    shape = (len(texts), max(lengths))
    tokens, kept = np.full(shape, fill, np.result_type(*texts)), np.zeros(shape, bool)
    for row, text in enumerate(texts):
        tokens[row, -len(text) :], kept[row, -len(text) :] = text, True
    return tokens, kept


def steps(
    model: Model,
    input_ids: ArrayLike,
    attention_mask: ArrayLike | None,
    sampling: Sampling,
    draw: Draw,
    *,
    max_new_tokens: int,
    pace: int,
) -> Iterator[np.ndarray]:
    """The texts so far, (batch, length), whenever each has `pace` more tokens, and at the end."""
    tokens, mask = _checked(model, input_ids, attention_mask, max_new_tokens)
    draw = draw._replace(earliest=draw.earliest + tokens.shape[1])
    length, most = tokens.shape[1], model.module.max_length
    end, size = length + max_new_tokens, _size(length + 1, SMALLEST, most)
    # Prompts of many lengths share a compilation.
    room = ((0, 0), (0, _size(length, SHORTEST, most) - length))
    tokens, mask = np.pad(tokens, room), np.pad(mask, room, constant_values=True)
    state = begin(model, tokens, mask, length, size, sampling, draw)
    while True:
        length = int(state.length)
        yield np.array(state.tokens)[:, :length]  # a copy: the next step takes the memory
        if length == end or state.finished.all():
            return
        if length == size:
            size = _size(length + 1, SMALLEST, most)
            state = enlarged(state, size)
        state = proceed(model, state, min(end, size, length + pace), sampling, draw)


def _size(length: int, smallest: int, most: int) -> int:
    """`smallest` doubled until it is enough."""
    while smallest < length:
        smallest *= 2
    return min(smallest, most)


def _checked(
    model: Model, input_ids: ArrayLike, attention_mask: ArrayLike | None, max_new_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """The prompts' tokens and mask."""
    module, tokens = model.module, np.asarray(input_ids)
    mask = np.ones(tokens.shape, bool) if attention_mask is None else np.asarray(attention_mask).astype(bool)
    if getattr(module, "head", None) != "lm":
        raise ZooError(f"{type(module).__name__} continues no texts; load it with head='lm'.")
    if tokens.ndim != 2 or not tokens.size or tokens.dtype.kind not in "iu" or mask.shape != tokens.shape:
        raise ZooError(
            f"input_ids are {tokens.dtype} {tokens.shape}, attention_mask {mask.shape}; "
            "expected whole numbers of shape (batch, length), and a mask of the same shape."
        )
    if not mask[:, -1].all():
        raise ZooError("a text ends in tokens that are masked; pad on the left, so that it can be continued.")
    if tokens.min() < 0 or tokens.max() >= module.vocab_size:
        raise ZooError(
            f"tokens from {tokens.min()} to {tokens.max()}; the model has 0 to {module.vocab_size - 1}."
        )
    most = module.max_length - tokens.shape[1]
    if most < 1:
        raise ZooError(
            f"a prompt of {tokens.shape[1]} tokens leaves no room: the model takes texts of "
            f"{module.max_length}, with what follows; give a shorter one, such as its end."
        )
    if not 1 <= max_new_tokens <= most:
        raise ZooError(
            f"max_new_tokens={max_new_tokens} after {tokens.shape[1]} tokens; expected 1 to {most}, "
            f"since the model takes texts of {module.max_length}."
        )
    return tokens.astype(np.int32), mask


@partial(jax.jit, static_argnames=("size", "sampling"))
def begin(
    model: Model,
    tokens: ArrayLike,
    mask: ArrayLike,
    length: ArrayLike,
    size: int,
    sampling: Sampling,
    draw: Draw,
) -> State:
    """The state after the prompts, which fill `length` of the columns, and one token; with `size` columns."""
    tokens, mask, length = jnp.asarray(tokens), jnp.asarray(mask), jnp.asarray(length)
    positions = jnp.maximum(jnp.cumsum(mask, -1) - 1, 0)
    logits, caches = model(tokens, positions, mask[:, None, None], None, length - 1, method="extend")
    finished = jnp.zeros(len(tokens), bool)
    state = enlarged(State(length, tokens, mask, caches, finished), size)
    return _appended(state, logits, sampling, draw)


def _appended(state: State, logits: jax.Array, sampling: Sampling, draw: Draw) -> State:
    logits = adjusted(logits, state.tokens, state.mask, state.length, sampling, draw)
    new = sample(logits, sampling, draw, state.length).astype(state.tokens.dtype)
    if draw.stops.size:
        new = jnp.where(state.finished, draw.fill.astype(new.dtype), new)
    finished = state.finished | (new[:, None] == draw.stops[None]).any(-1)
    tokens = jax.lax.dynamic_update_index_in_dim(state.tokens, new, state.length, 1)
    return state._replace(length=state.length + 1, tokens=tokens, finished=finished)


@partial(jax.jit, static_argnames="sampling", donate_argnames="state")
def proceed(model: Model, state: State, stop: ArrayLike, sampling: Sampling, draw: Draw) -> State:
    """Appends tokens until there are `stop`, or every text has come to a stop token."""
    count = state.mask.sum(-1) - (state.mask.shape[1] - state.length)  # every column to come is True

    def unfinished(carry: tuple[State, jax.Array]) -> jax.Array:
        return (carry[0].length < stop) & ~carry[0].finished.all()

    def step(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, count = carry
        last = state.length - 1
        token = jax.lax.dynamic_index_in_dim(state.tokens, last, 1)
        mask = (state.mask & (jnp.arange(state.mask.shape[1])[None] <= last))[:, None, None]
        logits, caches = model(token, count[:, None] - 1, mask, state.caches, last, method="extend")
        return _appended(state._replace(caches=caches), logits, sampling, draw), count + 1

    return jax.lax.while_loop(unfinished, step, (state, count))[0]


def enlarged(state: State, size: int) -> State:
    """Returns the texts with room for `size` tokens."""
    more = size - state.tokens.shape[1]
    return state._replace(
        tokens=jnp.pad(state.tokens, ((0, 0), (0, more))),
        mask=jnp.pad(state.mask, ((0, 0), (0, more)), constant_values=True),
        caches=jax.tree.map(
            lambda each: jnp.pad(each, [*[(0, 0)] * (each.ndim - 2), (0, more), (0, 0)]), state.caches
        ),
    )
