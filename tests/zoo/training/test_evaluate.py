import jax
import numpy as np
import pytest

import zoo
from zoo.training import (
    Examples,
    TrainingError,
    evaluate,
    evaluate_pretrained,
    find_recipe,
    load_split,
)
from zoo.training.tasks import TASKS, as_input


@pytest.mark.parametrize("batch_size", [16, 36, 64])
def test_every_example_counts_once_whatever_the_batch_size(data, dataset, recipe, batch_size):
    model = zoo.load("mlp_mnist", seed=1)
    test = load_split(dataset, "test", data)
    logits = np.asarray(model(test.inputs / np.float32(255)))
    exact = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    exact = exact - logits.max(-1, keepdims=True)
    measured = evaluate(model, test, recipe, batch_size=batch_size)
    assert measured["accuracy"] == (logits.argmax(-1) == test.labels).mean()
    assert measured["loss"] == pytest.approx(-exact[np.arange(37), test.labels].mean(), rel=1e-5)


def test_one_compilation_serves_all_batches(data, dataset, recipe):
    model = zoo.load("mlp_mnist", hidden=(7,))
    test = load_split(dataset, "test", data)
    traces = []

    class Counting(type(model.module)):
        def __call__(self, x, *, train=False):
            traces.append(x.shape)
            return super().__call__(x, train=train)

    counting = Counting(model.module.features, model.module.activation)
    for _ in range(2):
        evaluate(zoo.Model(counting, model.variables), test, recipe, batch_size=16)
    assert traces == [(16, 28, 28, 1)]


def test_a_vae_is_measured_in_the_units_of_its_loss(data, dataset):
    model = zoo.load("vae_mnist", seed=1, output_activation="relu")
    recipe = find_recipe("vae_mnist")
    test = load_split(dataset, "test", data)
    measured = evaluate(model, test, recipe)
    mean, logvar = (np.asarray(each) for each in model(test.inputs / np.float32(255), method="encode"))
    kl = -0.5 * (1 + logvar - mean**2 - np.exp(logvar)).sum(1).mean()
    assert measured["kl"] == pytest.approx(kl, rel=1e-4)
    assert measured["loss"] == pytest.approx(
        measured["reconstruction"] + recipe.kl_weight * measured["kl"], rel=1e-5
    )
    # Nothing is drawn but noise of the latents, whose effect on untrained weights is small.
    images = model(mean, test.labels, method="decode")
    error = 0.5 * ((np.asarray(images) - test.inputs / 255) ** 2).sum((1, 2, 3)).mean()
    assert measured["reconstruction"] == pytest.approx(error, rel=0.1)


def test_the_kl_divergence_may_weigh_more_in_training(data, dataset):
    model, recipe = zoo.load("vae_mnist", seed=1), find_recipe("vae_mnist")
    examples = as_input(load_split(dataset, "test", data), model.entry)
    for train, weight in ((False, recipe.kl_weight), (True, recipe.train_kl_weight)):
        measured, _ = TASKS["vae"].measure(*model, examples, jax.random.key(0), recipe, train=train)
        loss = measured["reconstruction"] + weight * measured["kl"]
        np.testing.assert_allclose(measured["loss"], loss, rtol=1e-6)


def test_measuring_twice_gives_the_same_numbers(data, dataset):
    model = zoo.load("vae_mnist", seed=1)
    test = load_split(dataset, "test", data)
    recipe = find_recipe("vae_mnist")
    assert evaluate(model, test, recipe) == evaluate(model, test, recipe)


def test_a_saved_model_is_measured_by_the_recipe_of_its_name(tmp_path, data, dataset, recipe):
    model = zoo.load("mlp_mnist", seed=1)
    zoo.save(model, tmp_path / "saved")
    measured = evaluate_pretrained(tmp_path / "saved", data=data, dataset=dataset)
    expected = evaluate(model, load_split(dataset, "test", data), recipe)
    assert measured == {f"tiny_test_{name}": value for name, value in expected.items()}


def test_padding_cannot_reach_the_measures(recipe):
    model = zoo.load("mlp_mnist", seed=1)
    images = np.full((3, 28, 28, 1), 255, np.uint8)
    labels = np.asarray(model(images / np.float32(255))).argmax(-1).astype(np.int32)
    assert evaluate(model, Examples(images, labels), recipe, batch_size=2)["accuracy"] == 1.0


def test_a_model_without_a_recipe_names_those_that_can_be_measured():
    with pytest.raises(
        TrainingError, match=r"no data set is known .* 'resnet50' on; there is one for mlp_mnist,"
    ):
        evaluate_pretrained("resnet50")
    with pytest.raises(TrainingError, match=r"'bert-tiny' has no names of its classes, by which your data"):
        evaluate_pretrained("bert-tiny", data="reviews.csv")
    with pytest.raises(TrainingError, match="no recipe trains 'resnet50'; there are mlp_mnist, cnn_mnist"):
        find_recipe("resnet50")
