"""Layers that a user puts into a model of NNX."""

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

import zoo


class Head(nnx.Module):
    """A layer that runs a linen module of its own."""

    def __init__(self, width: int) -> None:
        self.width = width

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = np.eye(x.shape[-1], self.width, dtype=np.float32)
        inner = nn.Dense(self.width, use_bias=False)
        assert inner.parent is None  # not of the module that this one is called in
        return inner.apply({"params": {"kernel": kernel}}, x)


def test_a_layer_may_run_linen_inside() -> None:
    module = zoo.load("mlp_mnist", library="nnx").module
    module.layers[-1] = Head(7)
    assert module(np.zeros((2, 28, 28, 1), np.float32)).shape == (2, 7)
