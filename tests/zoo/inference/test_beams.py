"""Beam search against transformers, in float64."""

import jax
import numpy as np
import pytest

from tests.reference import generation
from tests.reference.generation import MASK, PROMPTS, theirs
from zoo import gpt2

pytestmark = pytest.mark.costly


@pytest.fixture(scope="module")
def twin():
    return generation.twin()


@pytest.fixture(autouse=True)
def model(twin):
    with jax.enable_x64(True):
        yield generation.model(twin)


@pytest.fixture(scope="module")
def stop(twin) -> int:
    """A token that one of the likeliest texts has in its middle, so that some texts end and others do not."""
    return int(theirs(twin, 10)[0, 20])


# Of one shape for each early_stopping, so that few programs are compiled.
CASES = {
    "one token": (1, {}),
    "to the end": (26, {"length_penalty": 0.0, "num_return_sequences": 4}),
    "short texts preferred": (26, {"length_penalty": -0.7, "num_return_sequences": 3}),
    "long texts preferred": (26, {"length_penalty": 2.0, "num_return_sequences": 2}),
    "ended early": (26, {"early_stopping": True, "num_return_sequences": 4}),
    "ended early, long texts preferred": (9, {"early_stopping": True, "length_penalty": 2.0}),
    "never ended early": (26, {"early_stopping": "never", "length_penalty": 2.0, "num_return_sequences": 4}),
    "never ended early, by the sum": (26, {"early_stopping": "never", "length_penalty": 0.0}),
}


@pytest.mark.parametrize(("count", "options"), CASES.values(), ids=CASES)
def test_the_best_texts_are_those_of_transformers(twin, model, stop, count, options):
    """Prompts have several lengths, and some texts end in the middle."""
    options = {"num_beams": 4, "eos_token_id": stop, "length_penalty": 1.0, **options}
    ours = gpt2.generate(model, PROMPTS, max_new_tokens=count, attention_mask=MASK, **options)
    want = theirs(twin, count, pad_token_id=stop, **options)
    np.testing.assert_array_equal(ours, want)
    if options["length_penalty"] < 0:
        assert (ours[:, 17:-1] == stop).any(), "no text ends"


def test_beams_grow_with_their_caches_and_heed_the_processors(twin, model):
    options = {
        "num_beams": 2,
        "no_repeat_ngram_size": 3,
        "repetition_penalty": 1.1,
        "bad_words_ids": [[3, 4], [9]],
    }
    ours = gpt2.generate(model, PROMPTS[:2], max_new_tokens=115, **options)
    np.testing.assert_array_equal(ours, theirs(twin, 115, PROMPTS[:2], np.ones_like(PROMPTS[:2]), **options))


def test_a_prompt_among_others_is_searched_as_alone(model, stop):
    options = {"max_new_tokens": 26, "num_beams": 4, "eos_token_id": stop}
    together = gpt2.generate(model, PROMPTS, attention_mask=MASK, **options)[2]
    alone = gpt2.generate(model, PROMPTS[2:3, 12:], **options)[0, 5:]
    np.testing.assert_array_equal(together[17 : 17 + len(alone)], alone)
    assert set(together[17 + len(alone) :]) <= {stop}
