"""Layers that a user puts into a model of NNX."""

import contextvars
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def test_calls_in_other_threads_reach_replaced_layers_too() -> None:
    images = np.ones((2, 28, 28, 1), np.float32)
    inner, outer = (zoo.load("mlp_mnist", library="nnx").module for _ in range(2))
    inner.layers[-1] = lambda x: x.mean()
    wanted = inner(images)

    def elsewhere(x: jax.Array) -> jax.Array:
        """Calls the other module in threads that know what is under way in this one, as asyncio's do."""
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(contextvars.copy_context().run, inner, images) for _ in range(2)]
            return np.stack([each.result() for each in runs])

    outer.layers[-1] = elsewhere
    np.testing.assert_array_equal(outer(images), [wanted, wanted])


def test_what_flax_does_not_document_is_used_in_one_file_and_exists() -> None:
    private = re.compile(r"\bnnx?\.(?:\w+\.)*_[a-z]|\b_context\b|flax\.core\.scope import|rng_counters")
    root = Path(zoo.__file__).parents[1]
    paths = [path for package in ("converters", "zoo") for path in (root / package).rglob("*.py")]
    used = [path.name for path in paths if private.search(path.read_text(encoding="utf-8"))]
    assert used == ["flax_private.py"]
    assert isinstance(nn.module._context.module_stack, list)
    assert {"rngs", "rng_counters"} <= vars(nn.Dense(1).bind({}).scope).keys()
