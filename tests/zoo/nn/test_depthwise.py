"""Depthwise convolutions as sums of shifted images, against XLA's own."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.equivalence import difference
from zoo._nn.convolutions import conv
from zoo._nn.depthwise import IMAGES, convolution

RNG = np.random.default_rng(0)
CASES = [  # size, strides, padding, dilation
    ((3, 3), (1, 1), [(1, 1), (1, 1)], (1, 1)),
    ((3, 5), (2, 1), "SAME", (1, 1)),
    ((5, 5), (2, 2), [(0, 3), (2, 1)], (1, 2)),
    ((2, 2), (1, 3), "VALID", (2, 2)),
    ((3, 3), (2, 3), [(-1, 2), (4, -2)], (2, 1)),
]


def options(strides, padding, dilation, groups):
    return {
        "window_strides": strides,
        "padding": padding,
        "lhs_dilation": (1, 1),
        "rhs_dilation": dilation,
        "dimension_numbers": jax.lax.conv_dimension_numbers((1,) * 4, (1,) * 4, IMAGES),
        "feature_group_count": groups,
        "precision": None,
    }


@pytest.mark.parametrize(("size", "strides", "padding", "dilation"), CASES)
def test_outputs_and_gradients_are_xlas(size, strides, padding, dilation):
    with jax.enable_x64(True):
        images, kernel = RNG.normal(size=(2, 9, 12, 6)), RNG.normal(size=(*size, 1, 6))
        given = options(strides, padding, dilation, 6)
        found, expected = (
            jax.jit(jax.value_and_grad(lambda x, w, call=call: (call(x, w, **given) ** 3).sum(), (0, 1)))(
                images, kernel
            )
            for call in (convolution, jax.lax.conv_general_dilated)
        )
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert difference(ours, theirs) < 1e-13


def test_kernels_in_a_batch_and_second_derivatives_are_xlas():
    images, kernels = RNG.normal(size=(2, 6, 6, 3)), RNG.normal(size=(2, 3, 3, 1, 3))
    given = options((2, 1), "SAME", (1, 1), 3)

    def curvature(call, kernel):
        slope = jax.grad(lambda kernel: (call(images, kernel, **given) ** 3).sum())
        return jax.jvp(slope, (kernel,), (kernel[::-1],))[1]

    with jax.enable_x64(True):
        ours, theirs = (
            jax.jit(jax.vmap(lambda kernel, call=call: curvature(call, kernel)))(kernels)
            for call in (convolution, jax.lax.conv_general_dilated)
        )
    assert difference(ours, theirs) < 1e-13


def test_tangents_are_xlas():
    images, kernel = RNG.normal(size=(2, 7, 6, 4)), RNG.normal(size=(3, 3, 1, 4))
    given = options((2, 1), [(3, -1), (0, 2)], (1, 2), 4)
    with jax.enable_x64(True):
        for argument in (0, 1, (0, 1)):
            ours, theirs = (
                jax.jacfwd(partial(call, **given), argument)(images, kernel)
                for call in (convolution, jax.lax.conv_general_dilated)
            )
            for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                assert difference(one, other) < 1e-13


def test_bfloat16_is_summed_in_float32():
    images, kernel = RNG.normal(size=(1, 8, 8, 4)), RNG.normal(size=(3, 3, 1, 4))
    images, kernel = (jnp.asarray(each, jnp.bfloat16) for each in (images, kernel))
    given = options((1, 1), "SAME", (1, 1), 4)
    found = convolution(images, kernel, **given)
    exact = convolution(images.astype("float32"), kernel.astype("float32"), **given)
    np.testing.assert_array_equal(found, exact.astype(jnp.bfloat16))


def test_only_depthwise_layers_are_changed():
    images = RNG.normal(size=(1, 6, 6, 4)).astype(np.float32)
    operations = {}
    for groups in (1, 2, 4):
        layer = conv(4, 3, groups=groups, dtype=None)
        assert type(layer) is nn.Conv
        variables = layer.init(jax.random.key(0), images)
        text = jax.jit(layer.apply).lower(variables, images).as_text()
        operations[groups] = "stablehlo.convolution" in text
    assert operations == {1: True, 2: True, 4: False}
