"""The bundled weights, on the first thousand digits of MNIST's test set."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import zoo
from zoo.training import (
    DATASETS,
    DataFile,
    Dataset,
    Examples,
    IdxFile,
    Recipe,
    TrainingError,
    TrainState,
    evaluate_pretrained,
    evaluate_samples,
    load_split,
)
from zoo.training.loop import make_step
from zoo.training.optimizer import optimizer
from zoo.vae import sample

DATA = Path(__file__).parents[2] / "data"
DIGITS = Dataset(
    name="mnist",
    splits={
        "test": (
            IdxFile(
                "t10k-1000-images-idx3-ubyte",
                (1000, 28, 28),
                "de7c252b04f05e1f8309634180ccdf286dc6dbac8c579b74e76e02ae0331ca52",
            ),
            IdxFile(
                "t10k-1000-labels-idx1-ubyte",
                (1000,),
                "832c0d20f0dc42e575488c75a83a970787d4c8d4d05831b2ef03701b4a478a90",
            ),
        )
    },
    mirrors=(),
)


PHOTOS = replace(
    DATASETS["cifar10"],
    splits={
        "test": (
            DataFile(
                "test_batch-150.bin",
                (150, 3073),
                "86b4ab5cccd7c6b1278065d7c0aff41a4ddf5792d7bcd4f28578530a96ca9c7e",
            ),
        )
    },
)


# What the weights measured when they were made; another processor may round one digit to another class.
@pytest.mark.parametrize(("name", "accuracy"), [("mlp_mnist", 0.986), ("cnn_mnist", 0.994)])
def test_a_classifier_is_as_good_as_when_it_was_made(name, accuracy):
    measured = evaluate_pretrained(name, data=DATA, dataset=DIGITS)
    assert measured["mnist_test_accuracy"] == pytest.approx(accuracy, abs=0.001)


def test_the_residual_network_is_as_good_as_when_it_was_made():
    measured = evaluate_pretrained("resnet20_cifar10", data=DATA, dataset=PHOTOS)
    assert measured["cifar10_test_accuracy"] == pytest.approx(134 / 150, abs=0.007)


def test_the_language_model_is_as_good_as_when_it_was_made():
    text = (DATA / "shakespeare-end.txt").read_text()  # of the part that it was not trained on
    tokens = np.array(zoo.tokenizer("gpt_shakespeare").encode(text).ids)
    inputs, labels = tokens[:-1].reshape(-1, 128), tokens[1:].reshape(-1, 128)
    logits = zoo.load("gpt_shakespeare", pretrained=True)(inputs).logits
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    assert losses.mean() == pytest.approx(1.7620, rel=1e-3)


def test_the_vae_is_as_good_as_when_it_was_made():
    measured = evaluate_pretrained("vae_mnist", data=DATA, dataset=DIGITS)
    expected = {"mnist_test_loss": 12.2959, "mnist_test_reconstruction": 8.7781, "mnist_test_kl": 7.0356}
    assert measured == pytest.approx(expected, rel=1e-3)


def test_digits_that_the_vae_draws_are_near_those_of_the_test_set():
    """By the features of the classifier; another VAE, that nobody has trained, is far from them."""
    options = {"features": "cnn_mnist", "data": DATA, "dataset": DIGITS}
    (name, distance), *rest = evaluate_samples("vae_mnist", **options).items()
    assert (name, rest) == ("mnist_test_frechet_cnn_mnist", [])
    digits = load_split(DIGITS, "test", DATA).inputs
    untrained = np.asarray(sample(zoo.load("vae_mnist"), np.arange(1000) % 10))
    assert 0 < distance < 0.1 * zoo.metrics.fid(untrained, digits, model="cnn_mnist")
    with pytest.raises(TrainingError, match="'cnn_mnist' draws no images; the families that do are 'vae'"):
        evaluate_samples("cnn_mnist", **options)


def test_no_pixel_of_the_vae_is_dead():
    """A pixel that is black in every image, and not in the digits, is a pinhole in their strokes."""
    vae = zoo.load("vae_mnist", pretrained=True)
    drawn = np.asarray(sample(vae, np.repeat(np.arange(10), 200), seed=2))
    steps_of_gray = (255 * drawn.max(0)).astype(np.uint8)
    digits = load_split(DIGITS, "test", DATA).inputs
    assert drawn.max(0).min() > 0
    assert (steps_of_gray[digits.mean(0) > 0.02 * 255] > 0).all()


# Mean losses of 100 updates each that the article prints; benchmarks/real/vae_article.py goes on to its end.
ARTICLE = [49.44, 37.18, 33.82, 31.90, 31.10, 29.77]


def test_the_articles_configuration_has_the_articles_losses():
    vae = zoo.load("vae_mnist", output_activation="relu")
    recipe = Recipe(task="vae", dataset="mnist", epochs=10, batch_size=16, learning_rate=1e-4)
    digits = load_split(DIGITS, "test", DATA)
    made = optimizer(recipe, 1)
    step = jax.jit(make_step(vae, recipe, made))
    state = TrainState.create(vae.variables, made, average=False, seed=0)
    losses = []
    for rows in np.random.default_rng(0).integers(len(digits.labels), size=(600, recipe.batch_size)):
        state, measures = step(state, Examples(digits.inputs[rows], digits.labels[rows]))
        losses.append(measures["loss"])
    means = np.array(jax.device_get(losses)).reshape(6, 100).mean(1)
    # A thousand digits, seen ten times, are a little easier than ten thousand.
    np.testing.assert_allclose(means, ARTICLE, rtol=0.07)


def test_digits_that_the_vae_draws_are_read_as_the_class_that_was_asked_for():
    vae, cnn = (zoo.load(name, pretrained=True) for name in ("vae_mnist", "cnn_mnist"))
    labels = np.repeat(np.arange(10), 50)
    read = np.asarray(cnn(sample(vae, labels, seed=0)).argmax(-1))
    assert (read == labels).mean() > 0.97


def test_the_whole_test_sets_metrics_are_in_the_manifest():
    names = ("mlp_mnist", "cnn_mnist", "vae_mnist", "gpt_shakespeare")
    metrics = {name: dict(zoo.info(name).metrics) for name in names}
    assert metrics["mlp_mnist"]["mnist_test_accuracy"] >= 0.982
    assert metrics["cnn_mnist"]["mnist_test_accuracy"] >= 0.993
    assert metrics["gpt_shakespeare"]["tiny_shakespeare_test_loss"] <= 1.70
    # Those of the article's architecture, with the same loss.
    assert metrics["vae_mnist"]["mnist_test_loss"] <= 12.505
    assert metrics["vae_mnist"]["mnist_test_reconstruction"] <= 8.770
    assert metrics["vae_mnist"]["mnist_test_kl"] <= 7.470
    assert metrics["vae_mnist"]["samples_read_by_cnn_mnist"] >= 0.9960
