"""Texts and ids continued, of any number and length."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import zoo

NAME = "gpt_shakespeare"


@pytest.fixture(scope="module")
def model() -> zoo.Model:
    return zoo.load(NAME, pretrained=True)


def test_ids_of_several_lengths_are_filled_on_the_right(model):
    ids = [[5, 6, 7], [8], [9, 10]]
    found = zoo.generate(model, ids, max_new_tokens=4, batch_size=2)
    assert found.shape == (3, 7)
    for row, prompt in zip(found, ids, strict=True):
        alone = zoo.gpt2.generate(model, [prompt], max_new_tokens=4)[0]
        np.testing.assert_array_equal(row, [*alone, *[0] * (7 - len(alone))])
    padded, mask = np.array([[5, 6, 7], [0, 0, 8]]), np.array([[1, 1, 1], [0, 0, 1]])
    masked = zoo.generate(model, padded, max_new_tokens=4, attention_mask=mask)
    np.testing.assert_array_equal(masked, found[:2])


def test_texts_are_continued_in_their_order(model):
    prompts = ["ROMEO:", "I", "JULIET: what", "the", "A"]
    found = zoo.generate(model, prompts, max_new_tokens=5, batch_size=2)
    assert found == [text for each in prompts for text in zoo.generate(NAME, each, max_new_tokens=5)]
    assert all(text.startswith(prompt) for text, prompt in zip(found, prompts, strict=True))
    assert all(len(text) == len(prompt) + 5 for text, prompt in zip(found, prompts, strict=True))
    assert zoo.generate(model, [], max_new_tokens=5) == []


def test_a_long_prompt_takes_no_tokens_from_a_short_one(model):
    most = model.module.max_length
    found = zoo.generate(model, ["a" * (most - 2), "b"], max_new_tokens=6)
    assert [len(text) for text in found] == [most, 7]


def test_draws_are_repeated_by_their_seed(model):
    first, again, other = (
        zoo.generate(model, ["To be"], max_new_tokens=8, temperature=1.0, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again != other
    several = zoo.generate(model, ["To", "be"], max_new_tokens=8, temperature=1.0, num_return_sequences=2)
    assert [text[:2] for text in several] == ["To", "To", "be", "be"]


REFUSED = {
    "a number": (3, {}, r"prompts are 3; expected texts or token ids, such as \[\[1, 2, 3\]\]"),
    "too many tokens": (["a"], {"max_new_tokens": 10**6}, "max_new_tokens=1000000; expected 1 to 128"),
    "both": (["a", [1]], {}, "prompts are texts and token ids"),
    "mask": (["a"], {"attention_mask": [[1]]}, "attention_mask= goes with token ids"),
    "beams": (["a"], {"num_beams": 2, "stop": "b"}, "num_beams=2; expected 1 with stop="),
    "batch": (["a"], {"batch_size": 0}, "batch_size=0"),
    "long": (["a" * 128], {}, "the prompt has 128 tokens; the model takes texts of 128"),
}


@pytest.mark.parametrize(("prompts", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_continued_is_refused(model, prompts, options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.generate(model, prompts, **{"max_new_tokens": 3, **options})


@pytest.mark.parametrize("prompts", ["a", [[1]]])
def test_a_model_of_pictures_is_told_its_function(prompts):
    with pytest.raises(
        zoo.ZooError, match=r"'cnn_mnist' continues no texts; it classifies pictures: zoo\.predict"
    ):
        zoo.generate("cnn_mnist", prompts, max_new_tokens=3)


class Normalized(nn.Module):
    """A convolution and a batch norm."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.BatchNorm(use_running_average=True)(nn.Conv(2, (1, 1), use_bias=False)(x))


def test_implicit_broadcasts_are_not_needed():
    sizes = {"width": 8, "depth": 1, "heads": 2, "vocab_size": 20, "max_length": 32}
    options = {"temperature": 1.0, "top_k": 3, "top_p": 0.9, "repetition_penalty": 1.2, "eos_token_id": 7}
    pixels, module = np.ones((1, 2, 2, 1), np.float32), Normalized()
    with jax.numpy_rank_promotion("raise"):
        model = zoo.load("gpt2", **sizes)
        found = zoo.generate(model, [[1, 2], [3]], max_new_tokens=3, no_repeat_ngram_size=2, **options)
        assert len(found) == 2
        normalized = zoo.Model(module, module.init(jax.random.key(0), pixels))
        folded = zoo.fold_batch_norm(normalized, pixels)
        np.testing.assert_allclose(folded(pixels), normalized(pixels), rtol=1e-5)
