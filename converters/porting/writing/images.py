"""Functions of images that Flax and JAX lack; a file that needs one gets its source."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def resize(
    x: jax.Array,
    sizes: Sequence[int],
    method: str,
    *,
    align_corners: bool = False,
    scales: Sequence[float] | None = None,
) -> jax.Array:
    """(batch, *spatial, features) -> (batch, *sizes, features), as torch's interpolate."""
    for axis, size in enumerate(sizes, 1):
        length = x.shape[axis]
        step = 1 / scales[axis - 1] if scales else length / size
        if method.startswith("nearest"):  # in float32 whatever the image is in, as torch
            start = 0.5 if method == "nearest-exact" else 0.0
            places = (jnp.arange(size, dtype=jnp.float32) + start) * jnp.float32(step)
            x = jnp.take(x, jnp.clip(places.astype(int), 0, length - 1), axis=axis)
            continue
        if align_corners:
            places = jnp.arange(size) * ((length - 1) / max(size - 1, 1))
        else:
            places = (jnp.arange(size) + 0.5) * step - 0.5
        low = jnp.floor(places).astype(int)
        t = (places - low).astype(x.dtype)
        if method == "cubic":  # with a = -0.75
            weights = {
                -1: -0.75 * t * (1 - t) ** 2,
                0: (1.25 * t - 2.25) * t**2 + 1,
                1: (1.25 * (1 - t) - 2.25) * (1 - t) ** 2 + 1,
                2: -0.75 * (1 - t) * t**2,
            }
        else:
            weights = {0: 1 - t, 1: t}
        shape = [-1 if each == axis else 1 for each in range(x.ndim)]
        parts = [
            jnp.take(x, jnp.clip(low + offset, 0, length - 1), axis=axis) * weight.reshape(shape)
            for offset, weight in weights.items()
        ]
        x = jnp.stack(parts).sum(0)
    return x


def resize_antialias(
    x: jax.Array, sizes: Sequence[int], method: str, *, align_corners: bool = False
) -> jax.Array:
    """(batch, *spatial, features) -> (batch, *sizes, features), smoothed if made smaller."""
    for axis, size in enumerate(sizes, 1):
        length = x.shape[axis]
        step = (length - 1) / max(size - 1, 1) if align_corners else length / size
        wide = max(step, 1.0)
        center = ((jnp.arange(size) + 0.5) * step)[:, None]
        reach = (2 if method == "cubic" else 1) * wide
        pixel = jnp.arange(length)
        first = jnp.maximum(jnp.trunc(center - reach + 0.5), 0)
        distance = jnp.abs((pixel - center + 0.5) / wide)
        if method == "cubic":  # with a = -0.5
            near = (1.5 * distance - 2.5) * distance**2 + 1
            far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
            weights = jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))
        else:
            weights = jnp.maximum(1 - distance, 0)
        end = jnp.trunc(center + reach + 0.5)
        weights = jnp.where((pixel >= first) & (pixel < end), weights, 0)
        weights = (weights / weights.sum(1, keepdims=True)).astype(x.dtype)
        x = jnp.moveaxis(jnp.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def grid_sample(
    x: jax.Array,
    grid: jax.Array,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> jax.Array:
    """(batch, h, w, features), points (batch, *grid, 2) -> (batch, *grid, features)."""
    height, width = x.shape[1:3]

    def place(at: jax.Array, size: int) -> jax.Array:
        """Returns the pixel, between pixels, of a place from -1 to 1."""
        at = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        if padding_mode == "reflection":
            low, span = (0.0, size - 1) if align_corners else (-0.5, size)
            at = jnp.abs(at - low) % (2 * span) if span else jnp.zeros_like(at)
            at = jnp.where(at > span, 2 * span - at, at) + low
        return at if padding_mode == "zeros" else jnp.clip(at, 0, size - 1)

    def pixel(row: jax.Array, column: jax.Array) -> jax.Array:
        """Returns pixels; zeros outside of the image."""
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        rows = jnp.clip(row, 0, height - 1).astype(int)
        columns = jnp.clip(column, 0, width - 1).astype(int)
        found = jax.vmap(lambda image, i, j: image[i, j])(x, rows, columns)
        return jnp.where(inside[..., None], found, 0)

    column, row = place(grid[..., 0], width), place(grid[..., 1], height)
    if mode == "nearest":
        return pixel(jnp.round(row), jnp.round(column))
    top, left = jnp.floor(row), jnp.floor(column)
    down, right = (row - top)[..., None], (column - left)[..., None]
    above = pixel(top, left) * (1 - right) + pixel(top, left + 1) * right
    below = pixel(top + 1, left) * (1 - right) + pixel(top + 1, left + 1) * right
    return above * (1 - down) + below * down


def affine_grid(theta: jax.Array, size: Sequence[int], *, align_corners: bool = False) -> jax.Array:
    """(batch, 2, 3) affine maps -> (batch, height, width, 2) places in an image, from -1 to 1."""
    rows, columns = (
        jnp.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) if n > 1 else jnp.zeros(1)
        for n in size
    )
    y, x = jnp.meshgrid(rows, columns, indexing="ij")
    points = jnp.stack([x, y, jnp.ones_like(x)], -1).astype(theta.dtype)
    return jnp.einsum("hwc,bdc->bhwd", points, theta)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """(batch, h, w, features * factor**2) -> (batch, h * factor, w * factor, features)."""
    batch, height, width, _ = x.shape
    x = x.reshape(batch, height, width, -1, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, height * factor, width * factor, -1)


def pixel_unshuffle(x: jax.Array, factor: int) -> jax.Array:
    """(batch, h, w, features) -> (batch, h / factor, w / factor, features * factor**2)."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height // factor, factor, width // factor, factor, features)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(batch, height // factor, width // factor, -1)


def channel_shuffle(x: jax.Array, groups: int) -> jax.Array:
    """(..., features) -> the same shape: the first of each group, the second of each, and so on."""
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


def unfold(
    x: jax.Array,
    kernel_size: Sequence[int],
    *,
    strides: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
) -> jax.Array:
    """(batch, height, width, features) -> (batch, windows, features * pixels of a window)."""
    x = jnp.pad(x, ((0, 0), *((pad, pad) for pad in padding), (0, 0)))
    rows, columns = (
        size - d * (k - 1) for size, d, k in zip(x.shape[1:3], dilation, kernel_size, strict=True)
    )
    parts = [
        x[:, top : top + rows : strides[0], left : left + columns : strides[1]]
        for top in range(0, kernel_size[0] * dilation[0], dilation[0])
        for left in range(0, kernel_size[1] * dilation[1], dilation[1])
    ]
    return jnp.stack(parts, axis=-1).reshape(x.shape[0], -1, x.shape[-1] * len(parts))


def fold(
    x: jax.Array,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    *,
    strides: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
) -> jax.Array:
    """(batch, windows, features * pixels of a window) -> sums (batch, height, width, features)."""
    height, width = (size + 2 * pad for size, pad in zip(output_size, padding, strict=True))
    rows, columns = (
        (size - d * (k - 1) - 1) // s + 1
        for size, d, k, s in zip((height, width), dilation, kernel_size, strides, strict=True)
    )
    x = x.reshape(x.shape[0], rows, columns, -1, *kernel_size)
    out = jnp.zeros((x.shape[0], height, width, x.shape[3]), x.dtype)
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            top, left = i * dilation[0], j * dilation[1]
            down = slice(top, top + (rows - 1) * strides[0] + 1, strides[0])
            across = slice(left, left + (columns - 1) * strides[1] + 1, strides[1])
            out = out.at[:, down, across].add(x[..., i, j])
    return out[:, padding[0] : height - padding[0], padding[1] : width - padding[1]]
