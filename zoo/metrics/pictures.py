"""Images as networks that measure take them, and the features that these make of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zoo._errors import ZooError
from zoo._inference.predict_all import predict_all
from zoo._loading.given import Given
from zoo._model import Model, record_of
from zoo._registry import families
from zoo._registry.entry import Photos
from zoo.inception import Inception

_SIDE = 299  # pixels of the images that the graph of the Frechet inception distance takes
_GRAY = 128.0  # and what it takes from their values, by which it then divides


def is_inception_fid(model: Model) -> bool:
    """Returns whether it is the network of the Frechet inception distance."""
    return isinstance(model.module, Inception) and model.module.pooling == "tensorflow"


def outputs(
    model: Given, images: Iterable[Any], function: Callable[[Model, jax.Array], Any], batch_size: int
) -> Iterator[np.ndarray]:
    """Yields what a function of the model and a batch of images gives for each image.

    Raises:
        ZooError: an image has another shape or dtype than the first, or is none.
    """
    return cast("Iterator[np.ndarray]", predict_all(model, images, batch_size=batch_size, function=function))


def prepared(model: Model, images: jax.Array) -> jax.Array:
    """Returns images as the model takes them; for the Frechet inception distance, of 299 x 299 pixels.

    Args:
        model: A model of images.
        images: (batch, height, width, channels) of uint8, or of floats in [0, 1].

    Raises:
        ZooError: the images are of integers that are no bytes.
    """
    dtype, most = _compute_dtype(model), pixel_range(images)
    if is_inception_fid(model):
        pixels = resized(_colored(images).astype(dtype) * (255 / most), _SIDE, _SIDE)
        return (pixels - _GRAY) / _GRAY
    entry = record_of(model)
    scaled = images.astype(dtype) / most
    if not isinstance(entry.preprocess, Photos):
        return scaled
    mean, std = (jnp.asarray(each, dtype) for each in (entry.preprocess.mean, entry.preprocess.std))
    return (_colored(scaled) - mean) / std if len(mean) == 3 else (scaled - mean) / std


def pixel_range(images: Any) -> int:
    """Returns the largest value of pixels: 255 of bytes, 1 of floats.

    Raises:
        ZooError: they are other integers, of which nobody knows it; or no batch of images.
    """
    if images.ndim != 4:
        raise ZooError(f"images of shape {images.shape}; expected (batch, height, width, channels).")
    if images.dtype == jnp.uint8:
        return 255
    if jnp.issubdtype(images.dtype, jnp.floating):
        return 1
    raise ZooError(f"images are {images.dtype}; expected uint8, or floats in [0, 1].")


def features(model: Model, images: jax.Array) -> jax.Array:
    """(batch, height, width, channels) images, as for `prepared` -> (batch, width): what the head reads.

    Raises:
        ZooError: the model has no head.
    """
    return before_head(model, prepared(model, images))


def before_head(model: Model, x: jax.Array) -> jax.Array:
    """Returns (batch, width), what the layer reads that gives the logits; maps are averaged.

    Raises:
        ZooError: the model has no such layer.
    """
    head = families.family(record_of(model)).head[:1]
    caught: list[jax.Array] = []

    def catch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if context.method_name == "__call__" and context.module.path == tuple(head[0].split("/")):
            caught.append(args[0])
        return call(*args, **kwargs)

    if not head:
        raise ZooError(f"{model.name!r} has no head, and so no features before it; take another model.")
    with nn.intercept_methods(catch):
        output = model(x)
    found = caught[0] if caught else output  # with num_classes=0 the features are what it gives
    return found.mean((1, 2)) if found.ndim == 4 else found


def resized(x: jax.Array, height: int, width: int) -> jax.Array:
    """(batch, any, any, channels) -> (batch, height, width, channels), bilinear as TensorFlow 1 does it.

    Pixel i of n is at i / n of the old side, whose pixels are not averaged where it becomes smaller; that
    factor is rounded to float32.
    """
    for axis, size in ((2, width), (1, height)):
        old = x.shape[axis]
        at = np.arange(size, dtype=x.dtype) * np.float32(old / size)
        low = at.astype(np.int32)
        part = jnp.asarray(at - low, x.dtype).reshape(-1, *[1] * (3 - axis))
        here = jnp.take(x, low, axis=axis)
        x = here + (jnp.take(x, np.minimum(low + 1, old - 1), axis=axis) - here) * part
    return x


def _colored(images: jax.Array) -> jax.Array:
    """Returns gray images as such of three equal colors."""
    return jnp.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def _compute_dtype(model: Model) -> Any:
    """Returns the dtype of the model's arrays, float32 at least."""
    leaves = [leaf.dtype for leaf in jax.tree.leaves(model.variables)]
    return jnp.promote_types(jnp.result_type(*leaves), jnp.float32) if leaves else jnp.float32
