"""Pixels that were not preprocessed, in models of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo._nn.calls import check_pixels

MODELS = {"cnn_mnist": (28, 28, 1), "mlp_mnist": (28, 28, 1), "vae_mnist": (28, 28, 1), "resnet18": (9, 9, 3)}


@pytest.mark.parametrize("name", MODELS)
def test_pixels_up_to_255_are_refused_as_integers_and_told_as_floats(name):
    entry, pixels = zoo.info(name), np.full((2, *MODELS[name]), 255)
    with pytest.raises(zoo.ZooError, match=r"images are uint8, expected floats; zoo.preprocess makes them"):
        check_pixels(pixels.astype(np.uint8), entry)
    for kind in (np, jnp):
        with pytest.warns(UserWarning, match=rf"up to 255, and those of '{name}' are [12][.0-9]* at most"):
            check_pixels(kind.asarray(pixels, "float32"), entry)


@pytest.mark.parametrize("name", MODELS)
def test_what_may_be_meant_is_not_told(name):
    entry, shape = zoo.info(name), (2, *MODELS[name])
    rng = np.random.default_rng(0)
    for images in (rng.random(shape), rng.normal(size=shape) * 50, np.full(shape, 15.0), np.zeros((0, 1))):
        check_pixels(images, entry)
    check_pixels([[1, 2]], entry)


def test_what_other_modules_take_is_not_known():
    check_pixels(np.full((1, 2, 2, 1), 255), zoo.Entry("own", 0))
    check_pixels(np.full((1, 2), 30000), zoo.info("gpt2"))


def test_a_compiled_program_has_no_operation_more():
    entry = zoo.info("cnn_mnist")
    assert not jax.make_jaxpr(lambda images: check_pixels(images, entry))(np.ones((2, 28, 28, 1))).eqns
