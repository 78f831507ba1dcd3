"""zoo's own layers, and Flax's pooling as the zoo calls it, against torch's in float64."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import converters
from tests.equivalence import (
    FORWARD,
    check_gradients,
    difference,
    randomise,
    run_flax,
    run_torch,
    state_dict,
)
from zoo._errors import ZooError
from zoo._nn.layers import ACTIVATIONS, BatchNorm, pixel_shuffle
from zoo._registry import family

NORMS = {
    "1-d": (torch.nn.BatchNorm1d, (9,)),
    "2-d": (torch.nn.BatchNorm2d, (7, 5)),
    "3-d": (torch.nn.BatchNorm3d, (4, 3, 5)),
}


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "no affine"])
@pytest.mark.parametrize("mean", [0, 1e6], ids=["mean 0", "mean 1e6"])
@pytest.mark.parametrize(("kind", "spatial"), NORMS.values(), ids=NORMS)
def test_batch_norm_trains_as_torchs_does(
    kind: Any, spatial: tuple[int, ...], mean: float, affine: bool
) -> None:
    """Outputs, gradients and running statistics in each of three steps, then outputs in eval mode."""
    theirs = randomise(kind(6, affine=affine, momentum=0.3, eps=1e-3))
    mirror = kind(6, affine=affine, momentum=0.3, eps=1e-3).double()
    mirror.load_state_dict(theirs.state_dict())
    ours = BatchNorm(momentum=1 - 0.3, epsilon=1e-3, use_scale=affine, use_bias=affine)
    rng = np.random.default_rng(2)
    example = np.zeros((3, *spatial, 6))
    variables = converters.convert(state_dict(theirs), ours, example, kwargs={"use_running_average": True})
    for _ in range(3):
        x = rng.normal(loc=mean, size=(3, 6, *spatial))
        cotangent = rng.normal(size=x.shape)
        reference = run_torch(theirs, [x], [cotangent])
        reordered = run_torch(mirror, [x[::-1]], [cotangent[::-1]])
        (output,), grads, (input_grad,), changed = run_flax(
            ours,
            variables,
            [np.moveaxis(x, 1, -1)],
            [np.moveaxis(cotangent, 1, -1)],
            mutable=["batch_stats"],
            use_running_average=False,
        )
        itself = difference(reordered.outputs[0][::-1], reference.outputs[0])
        error = difference(np.moveaxis(output, -1, 1), reference.outputs[0])
        assert error <= max(10 * itself, FORWARD)
        gradients = {"input": np.moveaxis(input_grad, -1, 1)}
        if affine:
            gradients |= {"weight": grads["scale"], "bias": grads["bias"]}
        words = check_gradients(
            gradients,
            {**reference.params, "input": reference.inputs[0]},
            {**reordered.params, "input": reordered.inputs[0][::-1]},
        )
        variables = {**variables, **changed}
        for name, leaf in (("running_mean", "mean"), ("running_var", "var")):
            itself = difference(reordered.buffers[name], reference.buffers[name])
            error = difference(variables["batch_stats"][leaf], reference.buffers[name])
            assert error <= max(10 * itself, FORWARD), name
            print(f"{name} differs by {error:.1e}, torch from itself by {itself:.1e}; {words}")
    # Normalising takes the mean away, and with it as many digits as the mean has.
    x = rng.normal(loc=mean, size=(3, 6, *spatial))
    (output,), *_ = run_flax(ours, variables, [np.moveaxis(x, 1, -1)], use_running_average=True)
    assert difference(np.moveaxis(output, -1, 1), run_torch(theirs.eval(), [x]).outputs[0]) <= FORWARD * max(
        1, mean
    )


def test_batch_norm_over_a_mapped_axis_counts_the_whole_batch() -> None:
    whole, parts = BatchNorm(), BatchNorm(axis_name="batch")
    x = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    variables = whole.init(jax.random.key(0), x, use_running_average=True)
    _, expected = whole.apply(variables, x, use_running_average=False, mutable=["batch_stats"])

    def step(part: jax.Array) -> Any:
        return parts.apply(variables, part, use_running_average=False, mutable=["batch_stats"])[1]

    stats = jax.vmap(step, axis_name="batch", out_axes=0)(x[:, None])
    np.testing.assert_allclose(stats["batch_stats"]["var"][0], expected["batch_stats"]["var"], rtol=1e-5)


def test_batch_norm_refuses_to_train_on_one_value_a_channel() -> None:
    x = jnp.ones((1, 4))
    variables = BatchNorm().init(jax.random.key(0), x, use_running_average=True)
    with pytest.raises(ZooError, match="more than one value a channel"):
        BatchNorm().apply(variables, x, use_running_average=False, mutable=["batch_stats"])


F = torch.nn.functional
POOLS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "average": (lambda x: nn.avg_pool(x, (2, 3), (2, 1)), lambda x: F.avg_pool2d(x, (2, 3), (2, 1))),
    "average, padding counted": (
        lambda x: nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
    ),
    "average, padding not counted": (
        lambda x: nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)), count_include_pad=False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "maximum, padded": (
        lambda x: nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))),
        lambda x: F.max_pool2d(x, 3, 2, 1),
    ),
    "pixel shuffle": (lambda x: pixel_shuffle(x, 2), lambda x: F.pixel_shuffle(x, 2)),
}


@pytest.mark.parametrize(("ours", "theirs"), POOLS.values(), ids=POOLS)
def test_pooling_equals_torchs(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    x = np.random.default_rng(3).normal(size=(2, 8, 9, 7)) - 5  # no window holds a zero by chance
    with jax.enable_x64(True):
        output = np.asarray(ours(jnp.asarray(np.moveaxis(x, 1, -1))))
    assert difference(np.moveaxis(output, -1, 1), theirs(torch.from_numpy(x)).numpy()) <= FORWARD


@pytest.mark.parametrize("name", family.ACTIVATIONS)
def test_activations_are_those_of_transformers(name):
    from transformers.activations import ACT2FN

    x = np.linspace(-12, 12, 97)
    with jax.enable_x64(True):
        found = np.asarray(ACTIVATIONS[family.ACTIVATIONS[name]](x))
    assert difference(found, ACT2FN[name](torch.from_numpy(x)).numpy()) <= FORWARD


def test_activations_of_transformers_are_complete():
    """But for two that have parameters, and one that no model uses."""
    from transformers.activations import ACT2FN

    assert {*ACT2FN} - {*family.ACTIVATIONS} == {"prelu", "sqrtsoftplus", "xielu"}
