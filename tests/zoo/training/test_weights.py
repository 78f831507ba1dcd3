"""The bundled weights, on the first thousand digits of MNIST's test set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import optax
import pytest

import zoo
from zoo.training import DATASETS, DataFile, Dataset, IdxFile, evaluate_pretrained
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
    expected = {"mnist_test_loss": 12.5892, "mnist_test_reconstruction": 8.8420, "mnist_test_kl": 7.4944}
    assert measured == pytest.approx(expected, rel=1e-3)


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
    assert metrics["vae_mnist"]["mnist_test_loss"] <= 14.23  # that of the reference configuration
    assert metrics["vae_mnist"]["samples_read_by_cnn_mnist"] >= 0.97
