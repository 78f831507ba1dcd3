"""Parts of convolutional networks against torchvision's and timm's, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import converters
from tests.dropouts import same_dropout
from tests.equivalence import FORWARD, difference, randomise, run_flax, run_torch, state_dict
from tests.reference import published
from zoo._nn.convolutions import SqueezeExcite, conv, divisible, rising, stochastic_depth


def first(x):
    return np.moveaxis(x, -1, 1)


def test_squeeze_and_excite_is_torchvisions():
    published.declare_operators()
    from torchvision.ops import SqueezeExcitation

    theirs = randomise(SqueezeExcitation(6, 3, torch.nn.SiLU, torch.nn.Hardsigmoid))
    ours = SqueezeExcite(6, 3, "silu", "hard_sigmoid")
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 6))
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(theirs), ours, x)
    (output,), *_ = run_flax(ours, variables, [x])
    assert difference(first(output), run_torch(theirs, [first(x)]).outputs[0]) <= FORWARD


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 6])
def test_same_padding_is_timms(size, stride):
    """For even and odd sides, of which TensorFlow pads one less than the other."""
    published.declare_operators()
    from timm.layers import Conv2dSame

    theirs = randomise(Conv2dSame(4, 6, size, stride, groups=2, bias=False))
    ours = conv(6, size, stride, groups=2, same=True, dtype=None)
    x = np.random.default_rng(0).normal(size=(2, 8, 7, 4))
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(theirs), ours, x)
    (output,), *_ = run_flax(ours, variables, [x])
    assert difference(first(output), run_torch(theirs, [first(x)]).outputs[0]) <= FORWARD


@pytest.mark.parametrize("shape", [(8, 3, 2, 4), (8, 5, 3)], ids=["images", "sequences"])
def test_stochastic_depth_is_torchvisions_and_timms(shape):
    published.declare_operators()
    from timm.layers import DropPath
    from torchvision.ops import StochasticDepth

    x = np.random.default_rng(0).normal(size=shape)
    layer = stochastic_depth(0.4, len(shape))
    with same_dropout():
        (output,), *_ = run_flax(layer, {}, [x], deterministic=False)
        for theirs in (StochasticDepth(0.4, "row"), DropPath(0.4)):
            assert difference(output, theirs.train()(torch.from_numpy(x)).numpy()) <= FORWARD
    np.testing.assert_array_equal(layer.apply({}, x, deterministic=True), x)


def test_stochastic_depth_keeps_or_drops_whole_examples():
    """Without a test's own draws: a row is zeros, or the input divided by the probability to keep it."""
    x = jnp.ones((4000, 2, 3, 2))
    layer = stochastic_depth(0.25)
    output = np.asarray(layer.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(0)}))
    rows = output.reshape(len(x), -1)
    assert np.all(rows == rows[:, :1])
    kept = rows[:, 0] != 0
    np.testing.assert_allclose(rows[kept], 1 / 0.75, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 0.03


def test_rates_rise_with_the_depth():
    assert rising(0.2, 3) == [0.0, 0.1, 0.2]
    assert rising(0.2, 1) == [0.0]


def test_channels_are_rounded_as_torchvision_rounds_them():
    published.declare_operators()
    from torchvision.models._utils import _make_divisible

    sizes = np.arange(1, 400) * 0.35
    assert [divisible(size) for size in sizes] == [_make_divisible(size, 8) for size in sizes]
