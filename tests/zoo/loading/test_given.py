"""A model or its name, for the functions that take both; and what is neither."""

import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import zoo

DIGIT = np.zeros((1, 28, 28, 1), np.float32)
OWN = zoo.Model(nn.Dense(1), {"params": {}})
CALLS = {
    "features": lambda given: zoo.features(given, DIGIT, layers="fc1"),
    "feature_gradients": lambda given: zoo.feature_gradients(given, lambda _: 0.0, DIGIT, layers="fc1"),
    "fold_batch_norm": zoo.fold_batch_norm,
    "to_nnx": zoo.to_nnx,
    "to_torch": zoo.to_torch,
    "tokenizer": zoo.tokenizer,
    "predict": lambda given: zoo.predict(given, DIGIT),
    "embed": lambda given: zoo.embed(given, "a text"),
    "generate": lambda given: zoo.generate(given, "a text", max_new_tokens=1),
    "predict_all": lambda given: zoo.predict_all(given, DIGIT),
    "vae.sample": lambda given: zoo.vae.sample(given, [3]),
    "gpt2.generate": lambda given: zoo.gpt2.generate(given, [[1]], max_new_tokens=1),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_neither_a_model_nor_a_name_is_refused(name):
    for given, kind in (({"params": {}}, "dict"), (3, "int"), (None, "NoneType")):
        with pytest.raises(zoo.ZooError, match=rf"^found {kind}, expected a model or its name, such as "):
            CALLS[name](given)


def test_a_name_stands_for_the_model_with_its_weights():
    model = zoo.load("mlp_mnist", pretrained=True)
    named = zoo.features("mlp_mnist", DIGIT, layers="layers_1")
    np.testing.assert_array_equal(named["layers_1"], model(DIGIT))
    predicted = next(zoo.predict_all("mlp_mnist", DIGIT))
    np.testing.assert_allclose(predicted, model(DIGIT)[0], atol=1e-5)
    assert isinstance(zoo.to_nnx("mlp_mnist"), nnx.Module)
    with pytest.raises(zoo.ZooError, match="'mlp_mnist' is no VAE and draws no images"):
        zoo.vae.sample("mlp_mnist", [3])
    with pytest.raises(zoo.ZooError, match="MLP calls no batch norm; there is nothing to fold"):
        zoo.fold_batch_norm("mlp_mnist")
    with pytest.raises(zoo.ZooError, match=r"found str, expected the model that zoo\.fold_batch_norm gave"):
        zoo.unfold_batch_norm("mlp_mnist")


def test_a_model_stands_for_its_name_where_its_record_or_its_files_are_meant():
    model = zoo.load("gpt_shakespeare", pretrained=True)
    assert zoo.info(model) == zoo.info("gpt_shakespeare")
    assert zoo.tokenizer(model).encode("ROMEO").ids == zoo.tokenizer("gpt_shakespeare").encode("ROMEO").ids
    for call in (zoo.load, zoo.verify):
        with pytest.raises(zoo.ZooError, match="found the model 'gpt_shakespeare', expected a name, such as"):
            call(model)
    with pytest.raises(zoo.ZooError, match=r"this Dense has no record .*: save it with zoo.save\(model, "):
        zoo.info(OWN)


@pytest.mark.parametrize("wrong", ["4", -1, 2.5, True, None])
def test_keywords_that_are_whole_numbers_are_checked_before_a_module_is_built(wrong):
    with pytest.raises(zoo.ZooError, match=rf"num_classes={wrong!r}; expected a whole number, 0 or above"):
        zoo.load("cnn_mnist", num_classes=wrong)


def test_numbers_of_numpy_are_plain_ones():
    config = zoo.load("cnn_mnist", pretrained=True, num_classes=np.int64(3)).entry.config
    assert type(config["num_classes"]) is int
    with pytest.raises(zoo.ZooError, match="seed='a'; expected a whole number"):
        zoo.load("mlp_mnist", seed="a")
