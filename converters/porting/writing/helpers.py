"""Functions that Flax and JAX lack; a file that needs one gets its source."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def widened(x: jax.Array) -> jax.Array:
    """Returns an array in float32, or in its own type if that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def adaptive_pool(x: jax.Array, sizes: Sequence[int | None], *, largest: bool = False) -> jax.Array:
    """(batch, *spatial, features) -> means, or maxima, of `sizes` windows of each axis."""
    for axis, (size, length) in enumerate(zip(sizes, x.shape[1:-1], strict=True), 1):
        count = size or length
        windows = [
            jax.lax.slice_in_dim(x, i * length // count, -(-(i + 1) * length // count), axis=axis)
            for i in range(count)
        ]
        x = jnp.stack([each.max(axis) if largest else each.mean(axis) for each in windows], axis)
    return x


def max_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    *,
    dilation: Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> jax.Array:
    """(batch, *spatial, features) -> maxima of windows; the last may end after the image."""
    dilation = dilation or (1,) * len(window)
    pads = [(0, 0)]
    for length, size, stride, pad, step in zip(
        x.shape[1:-1], window, strides, padding, dilation, strict=True
    ):
        reach = step * (size - 1) + 1
        more = 0
        if ceil_mode:
            count = -(-(length + 2 * pad - reach) // stride) + 1
            count -= (count - 1) * stride >= length + pad
            more = max((count - 1) * stride + reach - length - 2 * pad, 0)
        pads.append((pad, pad + more))
    out: jax.Array = jax.lax.reduce_window(
        x,
        -jnp.inf,
        jax.lax.max,
        window_dimensions=(1, *window, 1),
        window_strides=(1, *strides, 1),
        padding=[*pads, (0, 0)],
        window_dilation=(1, *dilation, 1),
    )
    return out


def avg_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> jax.Array:
    """(batch, *spatial, features) -> means of windows; the last may end after the image."""
    pads, counts = [(0, 0)], jnp.ones(())
    for length, size, stride, pad in zip(x.shape[1:-1], window, strides, padding, strict=True):
        last = length + 2 * pad - size
        count = (-(-last // stride) if ceil_mode else last // stride) + 1
        count -= (count - 1) * stride >= length + pad
        pads.append((pad, max((count - 1) * stride + size - length - pad, 0)))
        first = jnp.arange(count) * stride - pad
        low, high = (-pad, length + pad) if count_include_pad else (0, length)
        inside = jnp.minimum(first + size, high) - jnp.maximum(first, low)
        counts = counts[..., None] * inside
    total: jax.Array = jax.lax.reduce_window(
        x,
        0.0,
        jax.lax.add,
        window_dimensions=(1, *window, 1),
        window_strides=(1, *strides, 1),
        padding=[*pads, (0, 0)],
    )
    return total / (divisor or counts[..., None].astype(x.dtype))


def conv_transpose(
    x: jax.Array,
    weight: jax.Array,
    strides: Sequence[int],
    padding: Sequence[int],
    *,
    output_padding: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> jax.Array:
    """(batch, *spatial, in), weights (in, out / groups, *spatial) -> (batch, *spatial, out)."""
    axes = len(strides)
    more, dilation = output_padding or (0,) * axes, dilation or (1,) * axes
    width, features = weight.shape[0] // groups, weight.shape[1] * groups
    kernel = weight.reshape(groups, width, *weight.shape[1:]).swapaxes(1, 2)
    kernel = jnp.flip(kernel.reshape(features, width, *weight.shape[2:]), range(2, 2 + axes))
    reach = [d * (size - 1) for d, size in zip(dilation, weight.shape[2:], strict=True)]
    letters = "DHW"[3 - axes :]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1,) * axes,
        padding=[(r - p, r - p + o) for r, p, o in zip(reach, padding, more, strict=True)],
        lhs_dilation=strides,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"OI{letters}", f"N{letters}C"),
        feature_group_count=groups,
    )


def local_response_norm(
    x: jax.Array, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> jax.Array:
    """(..., features) -> the same shape, divided by a mean over `size` neighboring features."""
    padded = jnp.pad(x**2, (*((0, 0),) * (x.ndim - 1), (size // 2, (size - 1) // 2)))
    squares = [padded[..., i : i + x.shape[-1]] for i in range(size)]
    return x / (k + alpha * sum(squares) / size) ** beta


def alpha_dropout(
    x: jax.Array, rate: float, key: jax.Array, *, broadcast_dims: Sequence[int] = ()
) -> jax.Array:
    """Sets numbers to what SELU saturates at; mean and variance stay, if they are 0 and 1."""
    limit = 1.7580993408473766
    shape = [1 if axis in broadcast_dims else size for axis, size in enumerate(x.shape)]
    x = jnp.where(jax.random.bernoulli(key, 1 - rate, shape), x, -limit)
    scale: float = ((1 - rate) * (1 + rate * limit**2)) ** 0.5
    return (x + rate * limit) / scale
