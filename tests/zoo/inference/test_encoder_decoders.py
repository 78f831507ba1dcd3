"""Texts that answer the prompts of an encoder, against transformers, in float64."""

import jax
import numpy as np
import pytest
import torch

import zoo
from tests.reference import text_models

SIZES = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
PROMPTS = [np.random.default_rng(0).integers(2, 60, size).tolist() for size in (9, 4, 6)]


@pytest.fixture(scope="module")
def twin():
    text_models.declare_operators()
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    made = T5ForConditionalGeneration(T5Config(**SIZES, **TOKENS)).eval()
    with torch.no_grad():
        for each in made.parameters():
            each.copy_(torch.randn_like(each) * 0.4)
    return made.double()


@pytest.fixture(scope="module")
def directory(twin, tmp_path_factory):
    made = tmp_path_factory.mktemp("t5")
    twin.save_pretrained(made)
    return made


@pytest.fixture(autouse=True)
def model(directory):
    with jax.enable_x64(True):
        yield zoo.load(directory, pretrained=True)


def theirs(twin, count, prompts=PROMPTS, **options) -> np.ndarray:
    from transformers import GenerationConfig

    length = max(map(len, prompts))
    ids, mask = torch.zeros(2, len(prompts), length, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)], mask[row, : len(prompt)] = torch.tensor(prompt), 1
    config = GenerationConfig(max_new_tokens=count, **{**TOKENS, **options})
    return twin.generate(ids, attention_mask=mask, generation_config=config).numpy()


CASES = {
    "likeliest": {"eos_token_id": [1, 11], "min_new_tokens": 2},
    "beams": {"eos_token_id": [1, 11], "num_beams": 4, "num_return_sequences": 3},
    "beams, first and last tokens forced": {
        "forced_bos_token_id": 7,
        "forced_eos_token_id": 11,
        "eos_token_id": 11,
        "num_beams": 2,
        "no_repeat_ngram_size": 2,
    },
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_texts_are_those_of_transformers(twin, model, options):
    """Prompts have several lengths, and are padded on the right for the encoder."""
    found, wanted = zoo.generate(model, PROMPTS, max_new_tokens=12, **options), theirs(twin, 12, **options)
    if "num_beams" in options:
        # transformers takes a padding token of 0 for none, and fills with the first that ends a text.
        ended = np.cumsum(np.isin(wanted, options["eos_token_id"]), 1)
        wanted[:, 1:][ended[:, :-1] > 0] = 0
    np.testing.assert_array_equal(found, wanted)


def test_a_decoder_may_begin_with_given_tokens(model):
    free = zoo.generate(model, PROMPTS[:1], max_new_tokens=8, eos_token_id=())
    begun = zoo.generate(model, PROMPTS[:1], decoder_input_ids=free[:, :3], max_new_tokens=6, eos_token_id=())
    np.testing.assert_array_equal(begun, free)
    with pytest.raises(zoo.ZooError, match="1 decoder_input_ids for 3 prompts; expected one for each"):
        zoo.generate(model, PROMPTS, decoder_input_ids=[[0]], max_new_tokens=2)
    with pytest.raises(zoo.ZooError, match="a prompt of 600 tokens; the model takes 512"):
        zoo.generate(model, [[2] * 600], max_new_tokens=2)
