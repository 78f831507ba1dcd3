"""Pooling as PyTorch's: of windows that may reach over the edge, to outputs of a given size; flat maps."""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp


def max_pool(x: jax.Array, size: int, stride: int, *, padding: int = 0, ceil_mode: bool = False) -> jax.Array:
    """Takes the largest numbers of windows, as torch.nn.MaxPool2d.

    Args:
        x: (batch, height, width, channels)
        size: Side of a window, in pixels.
        stride: Step between windows, in pixels.
        padding: Pixels of padding on each side.
        ceil_mode: If true, a last window that begins inside the image may reach over its edge.
    """
    over = [_over(side, size, stride, padding) if ceil_mode else 0 for side in x.shape[1:3]]
    out: jax.Array = nn.max_pool(
        x, (size, size), (stride, stride), [(padding, padding + beyond) for beyond in over]
    )
    return out


def _over(side: int, size: int, stride: int, padding: int) -> int:
    """Returns by how many pixels the last window reaches over the padding."""
    last = -(-(side + 2 * padding - size) // stride) * stride  # where it begins, of the padded side
    if last >= side + padding:
        last -= stride
    return max(last + size - side - 2 * padding, 0)


def adaptive_avg_pool(x: jax.Array, height: int, width: int) -> jax.Array:
    """(batch, any, any, channels) -> (batch, height, width, channels), as torch.nn.AdaptiveAvgPool2d.

    Window i of n begins at the floor of i / n of the old side and ends at the ceiling of (i + 1) / n, so that
    neighbors overlap where n does not divide it.
    """
    for axis, count in ((1, height), (2, width)):
        size = x.shape[axis]
        if size != count:
            windows = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
            means = [jax.lax.slice_in_dim(x, *window, axis=axis).mean(axis) for window in windows]
            x = jnp.stack(means, axis)
    return x


def flatten_channels_first(x: jax.Array) -> jax.Array:
    """(batch, height, width, channels) -> (batch, numbers), in the order that PyTorch flattens maps in."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


def halved(x: jax.Array) -> jax.Array:
    """Averages 2x2 pixels, as torch.nn.AvgPool2d(2): the last row or column of an odd side is left out."""
    out: jax.Array = nn.avg_pool(x, (2, 2), (2, 2))
    return out


def blurred(x: jax.Array, *, mode: str) -> jax.Array:
    """Averages 3x3 pixels with the weights 1, 2, 1 of each axis, and takes each second one.

    Zhang, https://arxiv.org/abs/1904.11486, section 3.

    Args:
        x: (batch, height, width, channels)
        mode: Word of `jnp.pad` for what is beyond the edge.
    """
    for axis in (1, 2):
        x = jnp.pad(x, [(1, 1) if each == axis else (0, 0) for each in range(4)], mode=mode)
        size = x.shape[axis] - 2
        before, here, after = (
            jax.lax.slice_in_dim(x, start, start + size, 2, axis=axis) for start in range(3)
        )
        x = (before + 2 * here + after) / 4
    return x


# What halves height and width: with "" it is a stride, which hides pixels.
SHRINKING: Mapping[str, Callable[[jax.Array], jax.Array] | None] = {
    "": None,
    "average": halved,
    "blur": partial(blurred, mode="reflect"),
    "blur_zeros": partial(blurred, mode="constant"),
}


def shrunk(x: jax.Array, way: str) -> jax.Array:
    """(batch, height, width, channels) -> half the height and width, in one of the SHRINKING ways."""
    shrink = SHRINKING[way]
    return x if shrink is None else shrink(x)
