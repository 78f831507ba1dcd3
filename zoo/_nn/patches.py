"""Images as sequences of patches: sizes, position embeddings for other sizes, and maps of the patches."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zoo._nn.images import checked_images
from zoo._nn.layers import bicubic
from zoo._nn.options import check_options
from zoo._registry.entry import Input

Sides = tuple[int, int]  # down and across

# How each library resizes position embeddings for images of another size.
RESIZING: dict[str, Callable[[int, int], np.ndarray]] = {
    "timm": partial(bicubic, antialias=True),
    "torchvision": partial(bicubic, align_corners=True),
    "transformers": bicubic,
}


def pair(sides: int | Sequence[int]) -> Sides:
    """Returns height and width, which one number gives both."""
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return height, width


def checked_sides(image_size: int | Sequence[int], patch_size: int | Sequence[int]) -> tuple[Sides, Sides]:
    """Returns height and width of images, and of patches, checked.

    Raises:
        ZooError: patches do not divide the images.
    """
    image, patch = pair(image_size), pair(patch_size)
    fits = not (image[0] % patch[0] or image[1] % patch[1])
    check_options(("image_size", image, fits, f"multiples of {patch}"))
    return image, patch


def checked_patches(
    images: Any, channels: int, *, image_size: Sides, patch_size: Sides, name: str = "images"
) -> jax.Array:
    """Returns (batch, height, width, channels) images as an array, checked.

    Args:
        images: An array, or lists of numbers.
        channels: Number of channels that they should have.
        image_size: Height and width that fit, for errors.
        patch_size: Height and width of a patch.
        name: Name of the argument, for errors.

    Raises:
        ZooError: they are none, or patches do not divide their sides.
    """
    down, across = patch_size
    return checked_images(
        images,
        (None, None, channels),
        example=image_size,
        fits=lambda height, width: height and width and not (height % down or width % across),
        rule=f", or sides that patches of {down} x {across} divide",
        name=name,
    )


def resized(embeddings: jax.Array, old: Sides, new: Sides, *, resizing: str, before: int = 0) -> jax.Array:
    """(1, before + patches, width) position embeddings of a grid of patches -> those of another grid.

    Args:
        embeddings: Those of the tokens before the patches, which stay, and of the patches.
        old: Number of patches down and across.
        new: The same of the other grid.
        resizing: Library whose resizing is used, one of RESIZING.
        before: Number of tokens before the patches that have a place.
    """
    if old == new:
        return embeddings
    first, embeddings = jnp.split(embeddings, [before], axis=1)
    down, across = (jnp.asarray(a, embeddings.dtype) for a in map(RESIZING[resizing], old, new))
    grid = embeddings.reshape(*old, -1)
    grid = jnp.einsum("yY,xX,YXc->yxc", down, across, grid, precision="highest")
    return jnp.concatenate([first, grid.reshape(1, -1, grid.shape[-1])], axis=1)


def patch_map(tokens: jax.Array, images: jax.Array, patch_size: Sides) -> jax.Array:
    """(batch, tokens, width) -> (batch, rows, columns, width), without those before the patches."""
    rows, columns = images.shape[1] // patch_size[0], images.shape[2] // patch_size[1]
    return tokens[:, -rows * columns :].reshape(tokens.shape[0], rows, columns, -1)


def patch_inputs(module: Any, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs with the module's size of images and number of channels."""
    shape = (*module.image_size, module.in_channels)
    return tuple(replace(each, shape=(*each.shape[:1], *shape)) for each in examples)
