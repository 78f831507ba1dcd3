import jax
import numpy as np
import pytest
import torch

from zoo._nn.pooling import adaptive_avg_pool, max_pool

POOLS = [(3, 2, 0), (3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 1), (3, 3, 1), (2, 4, 0)]


def maps(height, width):
    return np.random.default_rng(height * width).normal(size=(2, height, width, 3))


def both(ours, theirs, x):
    with jax.enable_x64(True):
        found = np.asarray(ours(jax.numpy.asarray(x)))
    expected = theirs(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    return found, np.moveaxis(expected, 1, -1)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pooling_is_pytorchs_with_any_padding_and_last_windows(ceil_mode):
    for size, stride, padding in POOLS:
        theirs = torch.nn.MaxPool2d(size, stride, padding, ceil_mode=ceil_mode)
        for sides in ((3, 4), (5, 7), (6, 8), (9, 2)):
            if min(sides) + 2 * padding < size:
                continue
            found, expected = both(
                lambda x, a=(size, stride), p=padding: max_pool(x, *a, padding=p, ceil_mode=ceil_mode),
                theirs,
                maps(*sides),
            )
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("sides", [(1, 1), (7, 7), (4, 6)])
def test_adaptive_pooling_is_pytorchs_for_larger_equal_and_smaller_images(sides):
    for given in ((7, 7), (3, 20), (14, 9)):
        found, expected = both(
            lambda x: adaptive_avg_pool(x, *sides), torch.nn.AdaptiveAvgPool2d(sides), maps(*given)
        )
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
