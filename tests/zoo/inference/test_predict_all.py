import os
import pty
import sys

import jax
import numpy as np
import pytest

import zoo
from tests.test_readme import read

RNG = np.random.default_rng(0)
IMAGES = RNG.random((23, 28, 28, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> zoo.Model:
    return zoo.load("mlp_mnist", seed=1)


@pytest.mark.parametrize("batch_size", [1, 8, 23, 64])
def test_each_example_has_its_output_in_order_whatever_the_batch_size(model, batch_size):
    found = [*zoo.predict_all(model, iter(IMAGES), batch_size=batch_size)]
    assert all(isinstance(each, np.ndarray) for each in found)
    np.testing.assert_allclose(found, model(IMAGES), atol=1e-5)


def test_one_compilation_serves_all_batches(model):
    traced = []

    def counting(model, images):
        traced.append(images.shape)
        return model(images)

    assert len([*zoo.predict_all(model, IMAGES, batch_size=8, function=counting)]) == 23
    assert traced == [(8, 28, 28, 1)]


def test_a_model_may_take_and_give_several_arrays():
    model = zoo.load("vae_mnist", seed=1)
    labels = RNG.integers(0, 10, 23)
    latents = [*zoo.predict_all(model, IMAGES, function=lambda model, images: model(images, method="encode"))]
    means = np.stack([mean for mean, _ in latents])
    drawn = zoo.predict_all(
        model,
        zip(means, labels, strict=True),
        batch_size=5,
        function=lambda model, means, labels: model(means, labels, method="decode"),
    )
    np.testing.assert_allclose([*drawn], model(means, labels, method="decode"), atol=1e-5)


def test_examples_are_read_no_further_than_they_are_computed(model):
    read = []
    found = zoo.predict_all(
        model, (read.append(index) or each for index, each in enumerate(IMAGES)), batch_size=4
    )
    next(found)
    assert len(read) <= 8


def test_who_asks_is_told_how_many_are_done(model):
    done = []
    assert len([*zoo.predict_all(model, IMAGES, batch_size=8, report=done.append)]) == 23
    assert done == [8, 16, 23]


def test_a_terminal_shows_how_many_and_how_fast(model, monkeypatch):
    main, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert len([*zoo.predict_all(model, IMAGES, batch_size=2)]) == 23
    shown = b"".join(iter(lambda: read(main), b"")).decode()
    os.close(main)
    assert "23 examples, " in shown
    assert "/s" in shown


@pytest.mark.parametrize(
    ("examples", "options", "refusal"),
    [
        ([], {}, "there are no examples to predict"),
        (IMAGES, {"batch_size": 0}, "batch_size=0; expected 1 or more"),
        ([IMAGES], {}, r"images of the first example are float32 \(23, .*; expected float32 of 3 axes"),
        ([np.zeros((28, 28, 1), np.uint8)], {}, "are uint8 .*; expected float32"),
        ([["a"]], {"function": lambda model, x: x}, "the first example is no numbers but <U1"),
        ([IMAGES[0], IMAGES[1][:27]], {}, r"example 1 is float32 \(27, .* first one is float32 \(28"),
        ([IMAGES[0], IMAGES[1] > 0], {}, "example 1 is bool"),
        (IMAGES, {"function": lambda model, x: x.sum()}, r"a batch of 64 gave an array of shape \(\)"),
        (IMAGES, {"mesh": jax.sharding.Mesh(jax.devices()[:1], ("x",))}, r"axes are \('x',\); one has"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_is_refused(model, examples, options, refusal):
    with pytest.raises(zoo.ZooError, match=refusal):
        next(zoo.predict_all(model, examples, **options))
