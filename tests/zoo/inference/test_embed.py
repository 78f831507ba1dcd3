"""Vectors of texts, in sorted batches of few shapes."""

import copy
import pickle

import jax
import numpy as np
import pytest

import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.loading.test_transformers_config import BERT, sentences, write
from tests.zoo.preprocessing.test_text import add_tokenizer
from zoo._inference import text_batches

RNG = np.random.default_rng(0)
TEXTS = [" ".join(f"w{word}" for word in RNG.integers(2, 50, length)) for length in RNG.integers(1, 36, 30)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    made = write(tmp_path_factory.mktemp("encoder") / "bert", BERT, state_dict(twin))
    sentences(made, ["Transformer", "Pooling"], pooling_mode_mean_tokens=True)
    return add_tokenizer(made)


@pytest.fixture(scope="module")
def model(directory) -> zoo.Model:
    return zoo.load(directory, pretrained=True)


@pytest.fixture
def compiled(monkeypatch):
    """Shapes of the batches for which the model was traced."""
    shapes = []
    call = zoo.Model.__call__

    def counted(self, *args, **kwargs):
        shapes.append(kwargs["input_ids"].shape)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(zoo.Model, "__call__", counted)
    return shapes


def test_vectors_are_in_the_order_of_the_texts_and_those_of_each_alone(model):
    found = zoo.embed(model, TEXTS, batch_size=8)
    assert (found.shape, found.dtype) == ((30, 24), np.float32)
    tokens = zoo.tokenizer(model.origin.located.directory)
    alone = [model(np.array([tokens.encode(text).ids])).embeddings[0] for text in TEXTS[:2]]
    np.testing.assert_allclose(found[:2], alone, atol=1e-5)
    np.testing.assert_array_equal(found, zoo.embed(model, iter(TEXTS), batch_size=8))


def test_a_shape_is_compiled_once_and_kept_for_other_loads_of_the_name(model, directory, compiled):
    jax.clear_caches()
    zoo.embed(model, TEXTS, batch_size=8)
    assert sorted(set(compiled)) == sorted(compiled)
    assert {rows for rows, _ in compiled} == {8}
    assert {columns for _, columns in compiled} == {16, 32, 40}
    before = len(compiled)
    zoo.embed(str(directory), TEXTS[::-1], batch_size=8)
    assert len(compiled) == before


def test_a_long_text_makes_few_rows_of_its_batch_only(monkeypatch, model, compiled):
    jax.clear_caches()
    monkeypatch.setitem(text_batches.TOKENS, "cpu", 256)
    zoo.embed(model, ["w5"] * 20 + [" ".join(["w6"] * 36)])
    assert max(rows * columns for rows, columns in compiled) <= 256


def test_a_few_texts_have_the_same_vectors_together_as_alone(model):
    together = zoo.embed(model, TEXTS[:3])
    np.testing.assert_array_equal(zoo.embed(model, TEXTS[0])[0], zoo.embed(model, [TEXTS[0]] * 3)[2])
    np.testing.assert_allclose(together[0], zoo.embed(model, TEXTS[0])[0], atol=1e-6)


def test_no_texts_are_no_vectors_of_the_right_width(model):
    assert zoo.embed(model, []).shape == (0, 24)


def test_pooling_of_a_loaded_model_is_that_of_a_name(directory, model):
    by_name = zoo.embed(directory, TEXTS[:2], pooling="cls")
    np.testing.assert_array_equal(zoo.embed(model, TEXTS[:2], pooling="cls"), by_name)
    assert not np.allclose(by_name, zoo.embed(model, TEXTS[:2]))
    with pytest.raises(zoo.ZooError, match="no pooling 'average'"):
        zoo.embed(model, "w5", pooling="average")


def test_what_is_no_text_is_refused(model, tmp_path):
    picture = tmp_path / "cat.png"
    picture.touch()
    for given, message in (
        ([("w5", "w6")], "input 0 is of type tuple; .* takes texts"),
        ([np.zeros((2, 2))], r"input 0 is an array of shape \(2, 2\)"),
        (str(picture), "is a picture, and"),
        (picture, "input 0 is of type PosixPath"),
    ):
        with pytest.raises(zoo.ZooError, match=message):
            zoo.embed(model, given)
    with pytest.raises(zoo.ZooError, match="nothing says where the tokenizer of"):
        zoo.embed(zoo.Model(model.module, model.variables, model.entry), "w5")


def test_a_model_keeps_its_place_but_gives_no_token_away(directory):
    model = zoo.load(directory, pretrained=True, token="hf_secret")
    assert copy.copy(model.origin).located.directory == directory
    assert b"hf_secret" not in pickle.dumps(model.origin)
    assert "hf_secret" not in repr(model.origin)
    changed = model.replace(variables=jax.tree.map(lambda array: array * 2, model.variables))
    assert zoo.embed(changed, "w5").shape == (1, 24)
