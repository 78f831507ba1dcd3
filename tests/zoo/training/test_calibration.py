import numpy as np
import pytest

import zoo
from zoo.training import Recipe, TrainingError, find_recipe, with_settings
from zoo.training.calibration import (
    check_temperature,
    expected_calibration_error,
    fit_temperature,
    probabilities,
    with_temperature,
)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn with their probabilities."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(20_000, 10))
    chosen = rng.random((len(logits), 1)) < probabilities(logits).cumsum(-1)
    return logits, chosen.argmax(-1)


@pytest.mark.parametrize("temperature", [0.25, 1, 3])
def test_the_temperature_that_logits_were_multiplied_by_is_found(drawn, temperature):
    logits, labels = drawn
    assert fit_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.02)


def test_the_calibration_error_is_zero_for_the_true_probabilities_only(drawn):
    logits, labels = drawn
    assert expected_calibration_error(logits, labels) < 0.01
    assert expected_calibration_error(logits / 3, labels) > 0.2
    sure = np.array([[9e3, 0], [9e3, 0]])
    assert expected_calibration_error(sure, np.array([0, 1])) == 0.5


def test_a_temperature_divides_the_logits_and_nothing_else():
    model, images = zoo.load("cnn_mnist", seed=1), np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    recipe = with_settings(find_recipe("cnn_mnist"), ["temperature=0.5"])
    check_temperature(recipe, model.entry, model.variables)
    changed = model.replace(variables=with_temperature(model.variables, recipe, model.entry))
    np.testing.assert_array_equal(changed(images), 2 * model(images))
    assert changed.variables["params"]["fc1"] is model.variables["params"]["fc1"]


def test_a_model_without_one_dense_head_takes_no_temperature(recipe: Recipe):
    model = zoo.load("mlp_mnist")
    check_temperature(recipe, model.entry, model.variables)
    hot = with_settings(recipe, ["temperature=2"])
    with pytest.raises(TrainingError, match="'mlp_mnist' is not one dense layer"):
        check_temperature(hot, model.entry, model.variables)


def test_the_bundled_classifiers_are_not_less_sure_than_they_are_right():
    """A plain digit of the VAE's: 0.90 would be read as doubt."""
    three = zoo.vae.sample(zoo.load("vae_mnist", pretrained=True), 3)
    logits = zoo.load("cnn_mnist", pretrained=True)(three)
    assert probabilities(np.asarray(logits))[0, 3] > 0.98
