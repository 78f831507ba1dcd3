"""Each change of the logits against transformers' processor, on given logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from zoo._inference.generation_options import NEUTRAL
from zoo._inference.logits import adjusted, warped
from zoo._inference.sampling import choices

ROWS, VOCABULARY, LENGTH, START, END = 3, 11, 6, 4, 7
# Runs of two tokens that come twice, and words to complete.
TOKENS = np.array([[1, 2, 3, 1, 5, 2], [7, 8, 7, 8, 9, 7], [4, 4, 4, 4, 6, 4]])
LOGITS = np.random.default_rng(0).normal(0, 2, (ROWS, VOCABULARY))
EOS = [3, 8]
BAD = [[5], [2, 3], [9, 7, 8], [8, 9, 7, 1], [3], [0, 0, 0, 0, 0, 0, 0, 1]]
PROCESSORS = {
    "repetition_penalty": (
        {"repetition_penalty": 1.7},
        lambda: transformers.RepetitionPenaltyLogitsProcessor(1.7),
    ),
    "repetition_penalty below 1": (
        {"repetition_penalty": 0.6},
        lambda: transformers.RepetitionPenaltyLogitsProcessor(0.6),
    ),
    "no_repeat_ngram_size": (
        {"no_repeat_ngram_size": 2},
        lambda: transformers.NoRepeatNGramLogitsProcessor(2),
    ),
    "no_repeat_ngram_size of 1": (
        {"no_repeat_ngram_size": 1},
        lambda: transformers.NoRepeatNGramLogitsProcessor(1),
    ),
    "no_repeat_ngram_size longer than the text": (
        {"no_repeat_ngram_size": 8},
        lambda: transformers.NoRepeatNGramLogitsProcessor(8),
    ),
    "bad_words_ids": (
        {"bad_words_ids": BAD, "eos_token_id": EOS},
        lambda: transformers.NoBadWordsLogitsProcessor(BAD, EOS),
    ),
    "min_new_tokens": (
        {"min_new_tokens": 3, "eos_token_id": EOS},
        lambda: transformers.MinNewTokensLengthLogitsProcessor(START, 3, EOS),
    ),
    "min_new_tokens reached": (
        {"min_new_tokens": 2, "eos_token_id": EOS},
        lambda: transformers.MinNewTokensLengthLogitsProcessor(START, 2, EOS),
    ),
    "min_length": (
        {"min_length": 7, "eos_token_id": EOS},
        lambda: transformers.MinLengthLogitsProcessor(7, EOS),
    ),
    "forced_bos_token_id": (
        {"forced_bos_token_id": 7, "length": 1, "start": 1},
        lambda: transformers.ForcedBOSTokenLogitsProcessor(7),
    ),
    "forced_bos_token_id later": (
        {"forced_bos_token_id": 7},
        lambda: transformers.ForcedBOSTokenLogitsProcessor(7),
    ),
    "forced_eos_token_id": (
        {"forced_eos_token_id": EOS},
        lambda: transformers.ForcedEOSTokenLogitsProcessor(END, EOS),
    ),
    "forced_eos_token_id earlier": (
        {"forced_eos_token_id": 3, "length": 5},
        lambda: transformers.ForcedEOSTokenLogitsProcessor(END, 3),
    ),
    "suppress_tokens": (
        {"suppress_tokens": [1, 1, 9]},
        lambda: transformers.SuppressTokensLogitsProcessor([1, 1, 9]),
    ),
    "begin_suppress_tokens": (
        {"begin_suppress_tokens": [1, 9], "length": 4},
        lambda: transformers.SuppressTokensAtBeginLogitsProcessor([1, 9], 4),
    ),
    "begin_suppress_tokens later": (
        {"begin_suppress_tokens": [1, 9]},
        lambda: transformers.SuppressTokensAtBeginLogitsProcessor([1, 9], 4),
    ),
    "begin_suppress_tokens after a forced one": (
        {"begin_suppress_tokens": [1, 9], "forced_bos_token_id": 5, "length": 2, "start": 1},
        lambda: transformers.SuppressTokensAtBeginLogitsProcessor([1, 9], 2),
    ),
}
WARPERS = {
    "temperature": ({"temperature": 0.7}, lambda: [transformers.TemperatureLogitsWarper(0.7)]),
    "top_k": ({"top_k": 3}, lambda: [transformers.TopKLogitsWarper(3)]),
    "top_k above the vocabulary": ({"top_k": 50}, lambda: [transformers.TopKLogitsWarper(50)]),
    "top_p": ({"top_p": 0.8}, lambda: [transformers.TopPLogitsWarper(0.8)]),
    "top_p of one token": ({"top_p": 0.01}, lambda: [transformers.TopPLogitsWarper(0.01)]),
    "min_p": ({"min_p": 0.1}, lambda: [transformers.MinPLogitsWarper(0.1)]),
    "min_p of one token": ({"min_p": 1.0}, lambda: [transformers.MinPLogitsWarper(1.0)]),
    "all of them": (
        {"temperature": 1.3, "top_k": 7, "top_p": 0.9, "min_p": 0.05},
        lambda: [
            transformers.TemperatureLogitsWarper(1.3),
            transformers.TopKLogitsWarper(7),
            transformers.TopPLogitsWarper(0.9),
            transformers.MinPLogitsWarper(0.05),
        ],
    ),
}
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def check(found, wanted, dtype) -> None:
    """Equal to the bit but for a division's last one, by a number that torch keeps in float64."""
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.isinf(found), np.isinf(wanted))
    np.testing.assert_allclose(found, wanted, rtol=2 * np.finfo(dtype).eps)


@DTYPES
@pytest.mark.parametrize(("options", "processor"), PROCESSORS.values(), ids=PROCESSORS)
def test_changes_are_those_of_transformers(options, processor, dtype):
    options = {"length": LENGTH, "start": START, **options}
    length, start = options.pop("length"), options.pop("start")
    with jax.enable_x64(True):
        chosen = {**NEUTRAL, **options}
        for name in ("eos_token_id", "forced_eos_token_id"):
            chosen[name] = tuple(np.atleast_1d(np.asarray(chosen[name], int)).tolist())
        sampling, draw = choices(chosen, start=start, end=END)
        # What is behind the text's end may not count.
        tokens = jnp.asarray(np.pad(TOKENS[:, :length], ((0, 0), (0, 10 - length)), constant_values=10))
        mask = jnp.ones(tokens.shape, bool)
        logits = jnp.asarray(LOGITS, dtype)
        found = np.asarray(adjusted(logits, tokens, mask, jnp.asarray(length), sampling, draw))
    wanted = processor()(torch.tensor(TOKENS[:, :length]), torch.tensor(LOGITS.astype(dtype)))
    check(found, wanted.numpy(), dtype)


@DTYPES
@pytest.mark.parametrize(("options", "warpers"), WARPERS.values(), ids=WARPERS)
def test_what_may_be_drawn_is_that_of_transformers(options, warpers, dtype):
    wanted = torch.tensor(LOGITS.astype(dtype))
    for each in warpers():
        wanted = each(None, wanted)
    with jax.enable_x64(True):
        sampling, draw = choices({**NEUTRAL, "temperature": 1.0, **options})
        found = np.asarray(warped(jnp.asarray(LOGITS, dtype), sampling, draw))
    check(found, wanted.numpy(), dtype)


def test_padding_is_no_part_of_a_text():
    """Nor of a run, of a word, or of repeated tokens."""
    tokens, mask = jnp.array([[1, 2, 1]]), jnp.array([[False, False, True]])
    options = {"no_repeat_ngram_size": 2, "repetition_penalty": 2.0, "bad_words_ids": [[2, 1, 3]]}
    sampling, draw = choices({**NEUTRAL, **options})
    found = adjusted(jnp.ones((1, 4)), tokens, mask, jnp.asarray(3), sampling, draw)
    np.testing.assert_array_equal(found, [[1, 0.5, 1, 1]])


def test_tokens_of_given_places_are_forced():
    options = {"forced_decoder_ids": [(1, 2), (2, None), (3, 0)], "begin_suppress_tokens": [1]}
    sampling, draw = choices({**NEUTRAL, **options}, start=1, end=9)
    tokens, mask = jnp.zeros((1, 8), int), jnp.ones((1, 8), bool)
    best = [
        np.flatnonzero(
            np.isfinite(adjusted(jnp.ones((1, 4)), tokens, mask, jnp.asarray(at), sampling, draw))[0]
        ).tolist()
        for at in range(1, 6)
    ]
    assert best == [[2], [0, 1, 2, 3], [0], [0, 2, 3], [0, 1, 2, 3]]
