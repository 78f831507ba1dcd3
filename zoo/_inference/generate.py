"""Token ids continued one by one, by models that have a method `extend` as GPT-2's.

One compiled loop with a cache of fixed size; where the text outgrows it, both go on with a larger one.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from zoo._inference import beams, prompts
from zoo._inference.decoding import (
    SHORTEST,
    SMALLEST,
    first_logits,
    next_logits,
    repeated,
    roomier,
    size,
)
from zoo._inference.generation_options import Options, Settled, new_tokens, settled
from zoo._inference.logits import adjusted, sample
from zoo._inference.prompts import Ids, Prompts
from zoo._inference.sampling import Draw, Sampling, choices, fill
from zoo._inference.stop_strings import StopStrings
from zoo._loading.given import Given, files_of, model_of
from zoo._model import Model
from zoo._preprocessing.text import tokenizer_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACE = 8  # tokens between two looks for strings that end a text


class State(NamedTuple):
    """Texts of `length` tokens, and the keys and values of all but the last.

    Attributes:
        length: Number of columns that are written.
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
    input_ids: Ids,
    *,
    attention_mask: ArrayLike | None = None,
    decoder_input_ids: Ids | None = None,
    **options: Unpack[Options],
) -> NDArray[np.integer]:
    """Continues texts: (batch, prompt) token ids -> (batch, prompt + new).

    Args:
        model: With the head "lm"; or a name, as for `load`, whose weights are then loaded.
        input_ids: The prompts. Lists of several lengths are padded on the left, in the result too, and each
            is continued as it would be alone. Those of an encoder are padded on the right, and are no part of
            the result.
        attention_mask: (batch, prompt), 1 for tokens to keep; needed where there is padding already.
        decoder_input_ids: (batch, length) token ids that the texts of a decoder with an encoder begin with;
            by default its first token alone.
        options: Keywords of `zoo.generate`.

    Returns:
        The texts. One that has ended is filled with the padding token, or else with the first of those that
        end one; with all texts at their ends, the result is shorter.

    Raises:
        ZooError: the texts do not fit the model, or an option is out of its range.
    """
    model = model_of(model)
    chosen = settled(model, options)
    filler = fill(chosen["pad_token_id"], chosen["eos_token_id"])
    begun = prompts.prompts_of(model, input_ids, attention_mask, decoder_input_ids, filler)
    return generated(model, begun, chosen)


def generated(
    model: Model, begun: Prompts, options: Settled, tokenizer: "Tokenizer | None" = None
) -> NDArray[np.integer]:
    """Returns texts with what follows; see `generate`. The tokenizer is read where it is needed."""
    count = new_tokens(options, model.module.max_length, begun.tokens.shape[1])
    if hasattr(model.module, "check_continuation"):
        model.module.check_continuation(begun.mask.sum(1), count)
    if options["num_beams"] > 1:
        choices(options)  # refuses what is out of its range
        return beams.search(model, begun, options, count)
    several = options["num_return_sequences"]
    begun = Prompts(
        np.repeat(begun.tokens, several, axis=0),
        np.repeat(begun.mask, several, axis=0),
        repeated(begun.context, several),
    )
    ended = None
    if options["stop"]:
        ended = stop_strings(options, begun, tokenizer or tokenizer_of(files_of(model)))
    pace = PACE if ended else count
    *_, texts = steps(model, begun, options, max_new_tokens=count, pace=pace, ended=ended)
    return texts


def stop_strings(options: Settled, begun: Prompts, tokenizer: "Tokenizer") -> StopStrings:
    """Returns the strings that end the texts that begin with these prompts."""
    return StopStrings(
        tokenizer=tokenizer,
        strings=options["stop"],
        stops=options["eos_token_id"],
        start=begun.tokens.shape[1],
        padding=begun.padding,
    )


def steps(
    model: Model,
    begun: Prompts,
    options: Settled,
    *,
    max_new_tokens: int,
    pace: int,
    ended: StopStrings | None = None,
) -> Iterator[np.ndarray]:
    """The texts so far, (batch, length), whenever each has `pace` more tokens, and at the end."""
    tokens, mask, context = begun
    length, most = tokens.shape[1], model.module.max_length
    end, columns = length + max_new_tokens, size(length + 1, SMALLEST, most)
    sampling, draw = choices(options, start=length, end=end, padding=begun.padding)
    # Prompts of many lengths share a compilation.
    room = ((0, 0), (0, size(length, SHORTEST, most) - length))
    tokens, mask = np.pad(tokens, room), np.pad(mask, room, constant_values=True)
    state = begin(model, tokens, mask, length, columns, sampling, draw, context)
    while True:
        length = int(state.length)
        if ended is not None:
            ends, over = ended.ends(np.array(state.tokens)[:, :length])
            state = _cut(state, ends, over, draw)
            length = int(ends.max())
        yield np.array(state.tokens)[:, :length]  # a copy: the next step takes the memory
        if length == end or state.finished.all():
            return
        if length == columns:
            columns = size(length + 1, SMALLEST, most)
            state = enlarged(state, columns)
        state = proceed(model, state, min(end, columns, length + pace), sampling, draw, context)


@partial(jax.jit, static_argnames=("columns", "sampling"))
def begin(
    model: Model,
    tokens: ArrayLike,
    mask: ArrayLike,
    length: ArrayLike,
    columns: int,
    sampling: Sampling,
    draw: Draw,
    context: Any = None,
) -> State:
    """The state after the prompts, which fill `length` of the columns, and one token; with more columns."""
    tokens, mask, length = jnp.asarray(tokens), jnp.asarray(mask), jnp.asarray(length)
    logits, caches = first_logits(model, tokens, mask, length, context)
    finished = jnp.zeros(len(tokens), bool)
    state = enlarged(State(length, tokens, mask, caches, finished), columns)
    return _appended(state, logits, sampling, draw)


def _appended(state: State, logits: jax.Array, sampling: Sampling, draw: Draw) -> State:
    logits = adjusted(logits, state.tokens, state.mask, state.length, sampling, draw)
    new = sample(logits, sampling, draw, state.length).astype(state.tokens.dtype)
    new = jnp.where(state.finished, draw.fill.astype(new.dtype), new)
    finished = state.finished | (new[:, None] == draw.stops[None]).any(-1)
    tokens = jax.lax.dynamic_update_index_in_dim(state.tokens, new, state.length, 1)
    return state._replace(length=state.length + 1, tokens=tokens, finished=finished)


@partial(jax.jit, static_argnames="sampling", donate_argnames="state")
def proceed(
    model: Model, state: State, stop: ArrayLike, sampling: Sampling, draw: Draw, context: Any = None
) -> State:
    """Appends tokens until there are `stop`, or every text has come to a stop token."""
    count = state.mask.sum(-1) - (state.mask.shape[1] - state.length)  # every column to come is True

    def unfinished(carry: tuple[State, jax.Array]) -> jax.Array:
        return (carry[0].length < stop) & ~carry[0].finished.all()

    def step(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, count = carry
        logits, caches = next_logits(
            model, state.tokens, state.mask, state.caches, state.length, count, context
        )
        return _appended(state._replace(caches=caches), logits, sampling, draw), count + 1

    return jax.lax.while_loop(unfinished, step, (state, count))[0]


def _cut(state: State, ends: np.ndarray, over: np.ndarray, draw: Draw) -> State:
    """Returns the texts without what was written after their ends; some are over there."""
    columns = jnp.arange(state.tokens.shape[1])[None]
    after = (columns >= ends[:, None]) & (columns < state.length)
    tokens = jnp.where(after, draw.fill.astype(state.tokens.dtype), state.tokens)
    return state._replace(tokens=tokens, finished=state.finished | over)


def enlarged(state: State, columns: int) -> State:
    """Returns the texts with room for so many tokens."""
    more = columns - state.tokens.shape[1]
    return state._replace(
        tokens=jnp.pad(state.tokens, ((0, 0), (0, more))),
        mask=jnp.pad(state.mask, ((0, 0), (0, more)), constant_values=True),
        caches=roomier(state.caches, more),
    )
