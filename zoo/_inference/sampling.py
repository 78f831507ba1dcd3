"""Options of `generate` as the compiled loop takes them: what is compiled into it, and the numbers."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zoo._inference.generation_options import Settled
from zoo._nn.options import check_choices, check_options


class Sampling(NamedTuple):
    """Choices that are compiled into the loop.

    Attributes:
        greedy: If true, takes the likeliest token instead of drawing one.
        top_k: From how many of the likeliest ones it is drawn; 0 for all.
        nucleus: If true, draws only from the likeliest ones whose probabilities come to `Draw.top_p`.
        floor: If true, draws only from those that are at least `Draw.min_p` as likely as the likeliest.
        penalized: If true, tokens of the text become less likely by `Draw.repetition_penalty`.
        ngram: Length of the runs of tokens that come once in a text only; 0 for any.
        delayed: If true, stop tokens are excluded before `Draw.earliest`.
        beams: Number of texts that are compared with each other for each prompt.
        early_stopping: If true, no text is looked for once there are as many as beams; "never" looks for
            longer ones as long as any may be likelier.
    """

    greedy: bool = True
    top_k: int = 0
    nucleus: bool = False
    floor: bool = False
    penalized: bool = False
    ngram: int = 0
    delayed: bool = False
    beams: int = 1
    early_stopping: bool | str = False


class Draw(NamedTuple):
    """Choices that are not compiled: numbers, tokens, and the key.

    Columns are those of the texts, counted from the first of the prompts. Arrays without any tokens take no
    part.

    Attributes:
        key: Key of the draws.
        temperature: Divisor of the logits.
        top_p: Probability that the likeliest tokens come to.
        min_p: Smallest probability, as a part of the likeliest token's.
        repetition_penalty: Divisor of positive logits of tokens that a text has, factor of negative ones.
        length_penalty: Power of the length that a text's log-probability is divided by, to compare beams.
        start: First column after the prompts.
        end: First column that no text has.
        earliest: (batch, 1), the column from which on a text may end.
        fill: Token after the end of a text.
        stops: Tokens that end a text.
        suppressed: Tokens that no text gets.
        suppressed_first: Tokens that no text gets in the column `first`.
        first: The first column that is not forced.
        forced: (n, 2) columns, and the token that each gets.
        last: The only tokens for the last column.
        bad_words: For each length above 1, (n, length) tokens that no text gets in a row.
    """

    key: jax.Array
    temperature: jax.Array
    top_p: jax.Array
    min_p: jax.Array
    repetition_penalty: jax.Array
    length_penalty: jax.Array
    start: jax.Array
    end: jax.Array
    earliest: jax.Array
    fill: jax.Array
    stops: jax.Array
    suppressed: jax.Array
    suppressed_first: jax.Array
    first: jax.Array
    forced: jax.Array
    last: jax.Array
    bad_words: tuple[jax.Array, ...]


def choices(
    options: Settled, *, start: int = 0, end: int = 0, padding: np.ndarray | None = None
) -> tuple[Sampling, Draw]:
    """Returns options as the loop takes them.

    Args:
        options: See `generation_options.settled`.
        start: Number of columns of the prompts.
        end: Largest number of columns of the texts.
        padding: (batch,) number of columns before each prompt; by default 0.

    Raises:
        ZooError: one of them is out of its range.
    """
    _check(options)
    real = jnp.result_type(float)
    stops, forced = options["eos_token_id"], _forced(options)
    before = np.zeros(1, int) if padding is None else np.repeat(padding, options["num_beams"])
    earliest = np.maximum(start + options["min_new_tokens"], before + options["min_length"])
    words = [[*word] for word in options["bad_words_ids"] if [*word] not in [[stop] for stop in stops]]
    draw = Draw(
        key=jax.random.key(options["seed"]),
        temperature=jnp.asarray(options["temperature"], real),
        top_p=jnp.asarray(options["top_p"], real),
        min_p=jnp.asarray(options["min_p"], real),
        repetition_penalty=jnp.asarray(options["repetition_penalty"], real),
        length_penalty=jnp.asarray(options["length_penalty"], jnp.float32),
        start=jnp.int32(start),
        end=jnp.int32(end),
        earliest=_ids(earliest[:, None]),
        fill=jnp.int32(fill(options["pad_token_id"], stops)),
        stops=_ids(stops),
        suppressed=_ids([*options["suppress_tokens"], *(word[0] for word in words if len(word) == 1)]),
        suppressed_first=_ids(options["begin_suppress_tokens"]),
        first=jnp.int32(max([start, *(column + 1 for column, _ in forced)])),
        forced=_ids(forced).reshape(-1, 2),
        last=_ids(options["forced_eos_token_id"]),
        bad_words=_by_length(words),
    )
    sampling = Sampling(
        greedy=options["temperature"] == 0,
        top_k=options["top_k"],
        nucleus=options["top_p"] < 1,
        floor=options["min_p"] > 0,
        penalized=options["repetition_penalty"] != 1,
        ngram=options["no_repeat_ngram_size"],
        delayed=bool((earliest > start).any()) and bool(stops),
        beams=options["num_beams"],
        early_stopping=options["early_stopping"],
    )
    return sampling, draw


def fill(pad_token_id: int | None, stops: Sequence[int]) -> int:
    """Returns the token that follows the end of a text."""
    return pad_token_id if pad_token_id is not None else stops[0] if stops else 0


def _check(options: Settled) -> None:
    """Checks the numbers, each and together."""
    beams, drawn = options["num_beams"], options["temperature"] > 0
    several = options["num_return_sequences"]
    values: Mapping[str, Any] = options
    check_options(
        *((name, values[name], right(values[name]), expected) for name, (right, expected) in _RANGES.items()),
        (
            "num_return_sequences",
            several,
            several == 1 or drawn or several <= beams,
            "1, or more with a temperature above 0, or as many as num_beams at most, since the likeliest "
            "text is always the same",
        ),
        ("num_beams", beams, beams == 1 or not drawn, "1 with a temperature above 0: beams are not drawn"),
        ("num_beams", beams, beams == 1 or not options["stop"], "1 with stop=: beams end at tokens alone"),
    )
    check_choices(early_stopping=(options["early_stopping"], (True, False, "never")))


# Option -> what is right, and that in words.
_RANGES: dict[str, tuple[Any, str]] = {
    "temperature": (lambda x: 0 <= x < math.inf, "0, for the likeliest token, or above"),
    "top_k": (lambda x: x >= 0, "1 or more, or 0 for all tokens"),
    "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1"),
    "min_p": (lambda x: 0 <= x <= 1, "0, for no bound, to 1"),
    "repetition_penalty": (lambda x: 0 < x < math.inf, "above 0"),
    "no_repeat_ngram_size": (lambda x: x >= 0, "0, for none, or above"),
    "min_new_tokens": (lambda x: x >= 0, "0 or above"),
    "num_return_sequences": (lambda x: x >= 1, "1 or more"),
    "num_beams": (lambda x: x >= 1, "1 or more"),
    "length_penalty": (math.isfinite, "a number"),
    "bad_words_ids": (lambda x: all(map(len, x)), "one token or more in each word"),
}


def _ids(tokens: Any) -> jax.Array:
    return jnp.asarray(np.asarray(tokens, np.int32))


def _forced(options: Settled) -> list[tuple[int, int]]:
    """Returns the columns whose token is given; the token that begins a text is in column 0."""
    pairs = [(column, token) for column, token in options["forced_decoder_ids"] if token is not None]
    begin = options["forced_bos_token_id"]
    return pairs if begin is None else [*pairs, (1, begin)]


def _by_length(words: Sequence[Sequence[int]]) -> tuple[jax.Array, ...]:
    groups = defaultdict(list)
    for word in words:
        groups[len(word)].append(word)
    return tuple(_ids(groups[length]) for length in sorted(groups) if length > 1)
