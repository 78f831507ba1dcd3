"""Depthwise convolutions that are fast on processors, too."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

IMAGES = ("NHWC", "HWIO", "NHWC")
Pair = tuple[int, int]


class _Form(NamedTuple):
    """Settings of a convolution, for rows and for columns."""

    strides: Pair
    margins: tuple[Pair, Pair]  # zeros before and behind the images; negative ones cut off
    dilation: Pair


def convolution(
    images: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    dimension_numbers: Any,
    feature_group_count: int,
    **options: Any,
) -> jax.Array:
    """Convolves as `jax.lax.conv_general_dilated` does; layers take it under this name.

    XLA's own depthwise convolutions are not vectorized on processors. There each place of the kernel is
    multiplied with the shifted images, and XLA makes one loop of their sum: 10 to 100 times as fast.
    """
    given: dict[str, Any] = {
        "window_strides": window_strides,
        "padding": padding,
        "lhs_dilation": lhs_dilation,
        "rhs_dilation": rhs_dilation,
        "dimension_numbers": dimension_numbers,
        "feature_group_count": feature_group_count,
        **options,
    }
    whole: Callable[..., jax.Array] = partial(jax.lax.conv_general_dilated, **given)
    channels = images.shape[-1]
    depthwise = images.ndim == 4 and kernel.shape[2:] == (1, channels) and channels == feature_group_count > 1
    if not depthwise or tuple(lhs_dilation) != (1, 1):
        return whole(images, kernel)
    sizes = [(side - 1) * step + 1 for side, step in zip(kernel.shape, rhs_dilation, strict=False)]
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(images.shape[1:3], sizes, window_strides, padding)
    form = _Form(_pair(window_strides), (_pair(padding[0]), _pair(padding[1])), _pair(rhs_dilation))
    convolved: jax.Array = jax.lax.platform_dependent(
        images, kernel, cpu=partial(_summed, form), default=whole
    )
    return convolved


def _pair(values: Sequence[int]) -> Pair:
    first, second = values
    return first, second


@partial(jax.custom_jvp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def _summed(form: _Form, images: jax.Array, kernel: jax.Array) -> jax.Array:
    padded = _padded(form, images)
    total = jnp.zeros((), padded.dtype)
    for place in np.ndindex(*kernel.shape[:2]):
        total = total + _shifted(form, padded, kernel, place) * kernel[place][0].astype(padded.dtype)
    return total.astype(images.dtype)


@_summed.defjvp
def _tangent(form: _Form, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Sums that JAX transposes into fast gradients, unlike that of shifted images.

    Of that one, each place of the kernel has a padded array in the gradient of the images, and a sum of its
    own in that of the kernel, for which the cotangent is computed anew: five times as long to compile and
    to run.
    """
    (images, kernel), (images_dot, kernel_dot) = primals, tangents
    out = _summed(form, images, kernel)
    change = _of_images(form, images_dot, kernel) + _of_kernel(form, images, kernel_dot, out.shape)
    return out, change.astype(out.dtype)


@partial(jax.jit, static_argnums=0)
def _of_images(form: _Form, images: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same sum, linear in the images: of arrays that are padded, whose transposes are cut out of one."""
    wide = images.astype(_wide(images))
    total, zero = jnp.zeros((), wide.dtype), jnp.zeros((), wide.dtype)
    spans = [(side - 1) * step for side, step in zip(kernel.shape, form.dilation, strict=False)]
    for place in np.ndindex(*kernel.shape[:2]):
        starts = [at * step for at, step in zip(place, form.dilation, strict=True)]
        rows, columns = ((span - start, start, 0) for span, start in zip(spans, starts, strict=True))
        term = wide * kernel[place][0].astype(wide.dtype)
        total = total + jax.lax.pad(term, zero, ((0, 0, 0), rows, columns, (0, 0, 0)))
    rows, columns = (
        (before - span, behind - span, 0) for (before, behind), span in zip(form.margins, spans, strict=True)
    )
    whole = jax.lax.pad(total, zero, ((0, 0, 0), rows, columns, (0, 0, 0)))
    return whole[:, :: form.strides[0], :: form.strides[1]]


@partial(jax.jit, static_argnums=(0, 3))
def _of_kernel(form: _Form, images: jax.Array, kernel: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The same sum, linear in the kernel: a loop, since each step's transpose is a sum over the images."""
    padded, places = _padded(form, images), np.array(list(np.ndindex(*kernel.shape[:2])))

    @jax.checkpoint  # else the shifted images of all steps are kept
    def add(total: jax.Array, step: Any) -> tuple[jax.Array, None]:
        place, weights = step
        return total + _shifted(form, padded, kernel, place) * weights, None

    weights = kernel.astype(padded.dtype).reshape(len(places), -1)
    total, _ = jax.lax.scan(add, jnp.zeros(shape, padded.dtype), (places, weights))
    return total


def _wide(array: jax.Array) -> jnp.dtype:
    return jnp.promote_types(array.dtype, jnp.float32)


def _padded(form: _Form, images: jax.Array) -> jax.Array:
    rows, columns = ((*margin, 0) for margin in form.margins)
    wide = images.astype(_wide(images))
    return jax.lax.pad(wide, jnp.zeros((), wide.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))


def _shifted(form: _Form, padded: jax.Array, kernel: jax.Array, place: Any) -> jax.Array:
    """The pixels that a place of the kernel is multiplied with."""
    starts = [at * step for at, step in zip(place, form.dilation, strict=True)]
    spans = [
        length - (side - 1) * step
        for length, side, step in zip(padded.shape[1:], kernel.shape, form.dilation, strict=False)
    ]
    window = jax.lax.dynamic_slice(padded, (0, *starts, 0), (len(padded), *spans, padded.shape[-1]))
    return window[:, :: form.strides[0], :: form.strides[1]]
