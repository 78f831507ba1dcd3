"""Generation against transformers, in float64, and the distributions that it draws from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import zoo
from tests.reference import generation
from tests.reference.generation import CONFIG, MASK, PROMPTS, theirs
from zoo import gpt2
from zoo._inference import generate
from zoo._inference.generation_options import NEUTRAL
from zoo._inference.logits import sample
from zoo._inference.sampling import choices

pytestmark = pytest.mark.costly

DRAWS = 20_000


@pytest.fixture(scope="module")
def twin() -> torch.nn.Module:
    return generation.twin()


@pytest.fixture(autouse=True)
def model(twin):
    """In float64, as everything in this file is."""
    with jax.enable_x64(True):
        yield generation.model(twin)


def test_two_hundred_tokens_of_four_prompts_are_transformers(twin, model):
    """Texts have several lengths; the cache grows meanwhile."""
    ours = gpt2.generate(model, PROMPTS, max_new_tokens=200, attention_mask=MASK)
    assert ours.shape == (4, 217)
    assert len(np.unique(ours[:, 17:])) > 10, "the texts say too little"
    np.testing.assert_array_equal(ours, theirs(twin, 200))


def test_logits_with_and_without_a_cache_are_equal(model):
    """Each token's, by one step after the others, across the sizes of the cache."""
    sampling, draw = choices(NEUTRAL)
    tokens, mask = np.pad(PROMPTS, ((0, 0), (0, 15))), np.pad(MASK.astype(bool), ((0, 0), (0, 15)))
    mask[:, 17:] = True
    state = generate.begin(model, tokens, mask, 17, 32, sampling, draw)
    for length in range(18, 31):
        last = length - 1
        # Of one shape, so that each side is compiled once: later places are masked.
        tokens, kept = np.asarray(state.tokens), np.asarray(state.mask) & (np.arange(32) <= last)
        positions, column = kept.sum(1)[:, None] - 1, jnp.asarray(last)
        seen = kept[:, None, None]
        found, _ = model(tokens[:, last:length], positions, seen, state.caches, column, method="extend")
        places = np.maximum(np.cumsum(kept, 1) - 1, 0)
        wanted = model(tokens, kept, position_ids=places).logits[:, last]
        assert np.abs(found - wanted).max() <= 1e-10 * np.abs(wanted).max()
        state = generate.proceed(model, state, length + 1, sampling, draw)


def test_padding_on_the_left_changes_nothing(model):
    alone = gpt2.generate(model, PROMPTS[2:3, 12:], max_new_tokens=20)
    among = gpt2.generate(model, PROMPTS, max_new_tokens=20, attention_mask=MASK)
    np.testing.assert_array_equal(alone[0, 5:], among[2, 17:])


def test_texts_end_at_stop_tokens(model):
    free = gpt2.generate(model, PROMPTS, max_new_tokens=40, attention_mask=MASK)
    stop = int(free[0, 25])
    ended = gpt2.generate(model, PROMPTS, max_new_tokens=40, attention_mask=MASK, eos_token_id=[stop, 1])
    for row, whole in zip(ended, free, strict=True):
        places = np.flatnonzero(np.isin(whole[17:], [stop, 1]))
        end = 17 + places[0] + 1 if places.size else len(row)
        np.testing.assert_array_equal(row[:end], whole[:end])
        assert set(row[end:]) <= {stop}
    alone = gpt2.generate(model, PROMPTS[:1], max_new_tokens=40, eos_token_id=stop)
    assert alone.shape[1] == 17 + list(free[0, 17:]).index(stop) + 1


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"repetition_penalty": 1.7}, 12),
        ({"no_repeat_ngram_size": 1}, 12),
        ({"repetition_penalty": 0.6, "no_repeat_ngram_size": 3}, 115),  # across the sizes of the cache
    ],
)
def test_repetitions_are_those_of_transformers(twin, model, options, count):
    """Without padding, which transformers takes for tokens of the text."""
    whole = np.ones_like(PROMPTS)
    ours = gpt2.generate(model, PROMPTS, max_new_tokens=count, **options)
    np.testing.assert_array_equal(ours, theirs(twin, count, mask=whole, **options))


def test_a_text_ends_no_sooner_than_it_may(twin, model):
    whole = np.ones_like(PROMPTS)
    stop = int(gpt2.generate(model, PROMPTS[:1], max_new_tokens=3)[0, 19])
    options = {"min_new_tokens": 9, "eos_token_id": stop}
    ours = gpt2.generate(model, PROMPTS, max_new_tokens=20, **options)
    assert ours.shape[1] >= 17 + 9
    want = theirs(twin, 20, mask=whole, **options, pad_token_id=stop)
    np.testing.assert_array_equal(ours, want)


def test_prompts_of_several_lengths_are_continued_as_alone(model):
    prompts = [PROMPTS[0, :9].tolist(), PROMPTS[1, :2].tolist(), PROMPTS[2].tolist()]
    options = {"max_new_tokens": 20, "no_repeat_ngram_size": 2, "repetition_penalty": 1.2}
    together = gpt2.generate(model, prompts, **options)
    for row, prompt in zip(together, prompts, strict=True):
        np.testing.assert_array_equal(row[17 - len(prompt) :], gpt2.generate(model, [prompt], **options)[0])


def test_a_model_that_names_its_stop_tokens_stops_there(model):
    free = gpt2.generate(model, PROMPTS[:1], max_new_tokens=40)[0]
    stop = int(free[22])
    length = 17 + list(free[17:]).index(stop) + 1
    named = zoo.Model(gpt2.create(**CONFIG, eos_token_id=[stop, 1], pad_token_id=0), model.variables)
    assert gpt2.generate(named, PROMPTS[:1], max_new_tokens=40).shape[1] == length
    assert gpt2.generate(named, PROMPTS[:1], max_new_tokens=40, eos_token_id=()).shape[1] == 57


def test_several_texts_are_drawn_for_a_prompt(model):
    texts = gpt2.generate(model, PROMPTS[:2], max_new_tokens=12, temperature=1.0, num_return_sequences=3)
    assert texts.shape == (6, 29)
    np.testing.assert_array_equal(texts[:, :17], np.repeat(PROMPTS[:2], 3, axis=0))
    assert len(np.unique(texts, axis=0)) == 6


def frequencies(logits: np.ndarray, **options) -> np.ndarray:
    sampling, draw = choices({**NEUTRAL, "temperature": 1.0, **options})
    rows = jnp.broadcast_to(jnp.asarray(logits), (DRAWS, len(logits)))
    tokens = np.asarray(sample(rows, sampling, draw, jnp.asarray(0)))
    return np.bincount(tokens, minlength=len(logits)) / DRAWS


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, range(6)),
        ({"temperature": 0.5}, range(6)),
        ({"temperature": 2.0}, range(6)),
        ({"top_k": 3}, range(3)),
        ({"top_p": 0.7}, range(3)),  # 0.4 + 0.25 is below, with 0.15 it is reached
        ({"top_p": 0.64}, range(2)),
        ({"top_k": 4, "top_p": 0.95}, range(4)),
        ({"top_p": 0.1}, range(1)),
    ],
)
def test_tokens_are_drawn_as_often_as_they_should(options, kept):
    """Within five standard deviations of the count."""
    probabilities = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    wanted = np.where(np.isin(range(6), kept), probabilities, 0) ** (1 / options.get("temperature", 1))
    wanted /= wanted.sum()
    order = np.random.default_rng(0).permutation(6)
    found = frequencies(np.log(probabilities)[order], seed=1, **options)
    assert (np.abs(found - wanted[order]) <= 5 * np.sqrt(wanted[order] / DRAWS)).all(), (found, wanted[order])


def test_a_seed_draws_the_same_and_another_one_others(model):
    options = {"max_new_tokens": 30, "temperature": 1.0, "top_k": 20, "top_p": 0.9}
    first, same, other = (gpt2.generate(model, PROMPTS, seed=seed, **options) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 284}, "max_new_tokens=284 after 17 tokens; expected 1 to 283"),
        ({"attention_mask": MASK[:, ::-1]}, "pad on the left"),
        ({"temperature": -1.0}, "temperature=-1.0; expected 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0; expected above 0"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size=-1; expected 0"),
        ({"num_beams": 2, "temperature": 1.0}, "num_beams=2; expected 1 with a temperature above 0"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences=3; expected 1, or more with"),
        ({"num_beams": 2, "early_stopping": "soon"}, "no early_stopping 'soon'"),
        ({"min_p": -0.1}, "min_p=-0.1; expected 0"),
        ({"suppress_tokens": [-1]}, "suppress_tokens has -1; the model has tokens 0 to 49"),
        ({"decoder_input_ids": [[1]]}, "GPT2 has no encoder"),
        ({"num_return_sequences": 2}, "num_return_sequences=2; expected 1"),
        ({"input_ids": [[1, 2], []]}, "at least one token each"),
        ({"input_ids": np.full((1, 300), 2)}, "a prompt of 300 tokens leaves no room"),
        ({"top_k": -1}, "top_k=-1; expected 1 or more"),
        ({"top_p": 1.5}, "top_p=1.5; expected above 0 and at most 1"),
        ({"input_ids": PROMPTS + 40}, "the model has 0 to 49"),
        ({"input_ids": PROMPTS[0]}, r"expected whole numbers of shape \(batch, length\)"),
    ],
)
def test_what_cannot_be_continued_is_refused(model, changes, message):
    options = {"input_ids": PROMPTS, "max_new_tokens": 5, **changes}
    with pytest.raises(zoo.ZooError, match=message):
        gpt2.generate(model, **options)


def test_longer_texts_than_positions_are_refused(model):
    with pytest.raises(zoo.ZooError, match="texts of 301 tokens; the model takes at most 300"):
        model(np.zeros((1, 301), int))
