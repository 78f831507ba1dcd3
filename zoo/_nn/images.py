"""Checks of the images that models are called with: of shapes and dtypes, also in compiled programs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from zoo._errors import ZooError
from zoo._registry.entry import Input

Shape: TypeAlias = tuple[int | None, int | None, int | None]  # height, width, channels; None for any
Fits: TypeAlias = Callable[[Any, Any], bool]  # of a height and a width

# Axes that images often have: (n)umber, (h)eight, (w)idth, (c)hannels, (f)lat -> what is wrong with them,
# and the expression that mends it. Without "c" they can be right for a model of one channel.
MISTAKES: Mapping[str, tuple[str, str]] = {
    "hwc": ("lack the axis of the batch", "{x}[None]"),
    "nhw": ("lack the axis of channels", "{x}[..., None]"),
    "hw": ("lack the axes of batch and channels", "{x}[None, ..., None]"),
    "nchw": ("have their channels first", "jnp.transpose({x}, (0, 2, 3, 1))"),
    "chw": (
        "have their channels first, and lack the axis of the batch",
        "jnp.transpose({x}, (1, 2, 0))[None]",
    ),
    "nf": ("are flat", "{x}.reshape(-1, {h}, {w}, {c})"),
    "f": ("are flat, and lack the axis of the batch", "{x}.reshape(1, {h}, {w}, {c})"),
}
USUAL = (1, 3, 4)  # channels of a picture
# Channels that images have and should have -> the expression that makes these of those.
CHANNELS: Mapping[tuple[Any, Any], str] = {
    (1, 3): "jnp.repeat({x}, 3, axis=-1)",
    (3, 1): "{x}.mean(-1, keepdims=True)",
    (4, 3): "{x}[..., :3]",
}


def checked_images(
    x: ArrayLike,
    shape: Shape,
    *,
    example: tuple[int, int] | None = None,
    fits: Fits = lambda height, width: True,
    rule: str = "",
    smallest: int = 0,
    name: str = "images",
) -> jax.Array:
    """Returns (batch, height, width, channels) images as an array, checked.

    Args:
        x: An array, or lists of numbers.
        shape: Height, width and channels of an image, None where any will do.
        example: A height and width that fit, if few do.
        fits: Returns whether a height and width fit.
        rule: Condition of `fits` in words, to put behind the expected shape.
        smallest: Least height and width, in pixels, instead of both.
        name: Name of the argument, for errors.

    Raises:
        ZooError: images of another shape, with what makes the right one of it; integers, since those have
            not been preprocessed; or no numbers.
    """
    if smallest:
        rule, fits = f" of at least {smallest} pixels each way", lambda *sides: min(sides) >= smallest
    x = numbers(x, name)
    check_floats(x.dtype, name)
    if len(x.shape) == 4 and _matches("nhwc", x.shape, shape, fits):
        return x
    words = ("height", "width", "channels")
    sides = (*(example or shape[:2]), shape[2])
    shown = ", ".join(str(word if size is None else size) for word, size in zip(words, sides, strict=True))
    wrong, expression = _mistake(x.shape, shape, sides, fits)
    advice = "zoo.preprocess makes pictures fit"
    if expression:
        advice = f"pass {expression.format(x=name, h=sides[0], w=sides[1], c=sides[2])}"
    raise ZooError(f"{name} of shape {x.shape}{wrong}; expected (batch, {shown}){rule}: {advice}.")


def _matches(axes: str, found: tuple[Any, ...], shape: Shape, fits: Fits) -> bool:
    sizes = dict(zip(axes, found, strict=True))
    same = all(expected in (None, sizes.get(axis, 1)) for axis, expected in zip("hwc", shape, strict=True))
    return same and fits(sizes["h"], sizes["w"])


def _mistake(found: tuple[Any, ...], shape: Shape, sides: Shape, fits: Fits) -> tuple[str, str]:
    """Returns what is wrong with a shape, and the expression that mends it; empty text if nobody knows."""
    flat = None if None in sides else math.prod(side or 0 for side in sides)
    for axes, (wrong, advice) in MISTAKES.items():
        if len(axes) == len(found) and (
            found[-1] == flat if "f" in axes else _matches(axes, found, shape, fits)
        ):
            return f" {wrong}", advice
    if len(found) != 4 or shape[2] in (None, found[3]):
        return "", ""
    if found[1] in USUAL and found[3] not in USUAL:
        return f" have channels first, {found[1]} of them", MISTAKES["nchw"][1]
    return f" have {found[3]} channel{'s' if found[3] > 1 else ''}", CHANNELS.get((found[3], shape[2]), "")


def flattened(x: ArrayLike, shape: tuple[int, ...] | None, *, name: str) -> jax.Array:
    """Returns examples as (batch, numbers), flattened row by row.

    Args:
        x: (batch, *shape), also without axes of one, or flattened already.
        shape: Shape of an example, or how many numbers it has; None for any.
        name: Name of the argument, for errors.

    Raises:
        ZooError: examples of another shape, or no numbers.
    """
    x = numbers(x, name)
    if x.ndim and (shape is None or _is_same(x.shape[1:], shape)):
        return x.reshape(x.shape[0], -1)
    shape = shape or ()
    if len(shape) == 3:
        checked_images(x, (shape[0], shape[1], shape[2]), name=name)
    expected = f"expected (batch, {', '.join(map(str, shape))})"
    if len(shape) == 1:
        expected += f", or other axes with {shape[0]} numbers for each example"
    if math.prod(x.shape) == math.prod(shape):
        raise ZooError(
            f"{name} of shape {x.shape} lack the axis of the batch; {expected}: pass {name}[None]."
        )
    raise ZooError(f"{name} of shape {x.shape}; {expected}.")


def _is_same(found: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    size = math.prod(shape)
    if found == (size,) or (len(shape) == 1 and math.prod(found) == size):
        return True
    return [each for each in found if each != 1] == [each for each in shape if each != 1]


def numbers(x: ArrayLike, name: str) -> jax.Array:
    """Returns numbers as an array.

    Raises:
        ZooError: they are none, as names of files.
    """
    try:
        x = x if hasattr(x, "ndim") and hasattr(x, "dtype") else jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jnp.number) or jnp.issubdtype(x.dtype, jnp.bool_):
            return cast("jax.Array", x)  # NumPy's arrays have all that is asked of them
    except (TypeError, ValueError):
        pass
    raise ZooError(
        f"{name} are no numbers but {type(x).__name__}; zoo.preprocess makes arrays of pictures and of their "
        "files."
    )


def check_floats(dtype: Any, name: str) -> None:
    """Checks that images are no integers.

    Raises:
        ZooError: they are.
    """
    if jnp.issubdtype(dtype, jnp.integer):
        raise ZooError(
            f"{name} are {dtype}, expected floats; zoo.preprocess makes them of pixels from 0 to 255, as in "
            f"the model's training, or {name} / 255 does if that was on [0, 1]."
        )


def kernel_shape(layer: nn.Module) -> tuple[int, ...] | None:
    """Returns the shape of a layer's kernel; None before it has one."""
    if not layer.has_variable("params", "kernel"):
        return None
    kernel: jax.Array = layer.get_variable("params", "kernel")
    return kernel.shape


def image_inputs(module: Any, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs of a family's entry with the module's number of channels."""
    return tuple(replace(each, shape=(*each.shape[:-1], module.in_channels)) for each in examples)
