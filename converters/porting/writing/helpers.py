"""Functions that Flax and JAX lack; a file that needs one gets its source."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


def adaptive_avg_pool(x: jax.Array, sizes: Sequence[int]) -> jax.Array:
    """(batch, *spatial, features) -> means over as many windows of each axis, as torch's adaptive_avg_pool."""
    for axis, (size, length) in enumerate(zip(sizes, x.shape[1:-1], strict=True), 1):
        windows = [
            jnp.mean(
                jax.lax.slice_in_dim(x, i * length // size, -(-(i + 1) * length // size), axis=axis), axis
            )
            for i in range(size)
        ]
        x = jnp.stack(windows, axis)
    return x


def max_pool_ceil(
    x: jax.Array, window: Sequence[int], strides: Sequence[int], padding: Sequence[int]
) -> jax.Array:
    """Takes the maximum over windows of which the last one may end after the image, as with ceil_mode=True."""
    pads = []
    for length, size, stride, pad in zip(x.shape[1:-1], window, strides, padding, strict=True):
        count = -(-(length + 2 * pad - size) // stride) + 1
        count -= (count - 1) * stride >= length + pad
        pads.append((pad, max((count - 1) * stride + size - length - pad, 0)))
    return nn.max_pool(x, tuple(window), tuple(strides), pads)
