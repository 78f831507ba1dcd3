"""LPIPS of pairs of images."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zoo._errors import ZooError
from zoo._inference.predict_all import predict_all
from zoo._loading.given import Given, model_of
from zoo._model import Model
from zoo.lpips import LPIPS
from zoo.metrics.pictures import pixel_range


def lpips(
    images_a: Iterable[Any], images_b: Iterable[Any], *, model: Given = "lpips_alex", batch_size: int = 64
) -> np.ndarray:
    """Computes the distance of each image of one set from its counterpart in the other: 0 for equal images.

    As a loss, in a compiled step, call the model itself with images in [-1, 1].

    Args:
        images_a: (n, height, width, 3), or images of one shape one after the other: of uint8, or of floats in
            [0, 1].
        images_b: As many others of the same shape.
        model: A model of family `lpips`, or its name, as for `load`, whose weights are then loaded.
        batch_size: Pairs at a time.

    Returns:
        (n,) distances.

    Examples:
        >>> zoo.metrics.lpips(photos, reconstructions).mean()

    Raises:
        ZooError: different numbers of images, others than these, or a model of another family.
        WeightsError: the model's weights cannot be fetched.
    """
    model = model_of(model)
    if not isinstance(model.module, LPIPS):
        raise ZooError(f"{model.name!r} gives no distances of images; zoo.load('lpips_alex') does.")
    try:
        pairs = list(zip(images_a, images_b, strict=True))
    except ValueError as error:
        raise ZooError("images_a and images_b are not as many; expected pairs of images.") from error
    return np.array([*predict_all(model, pairs, batch_size=batch_size, function=_distances)])


def _distances(model: Model, a: jax.Array, b: jax.Array) -> jax.Array:
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(model.variables)]
    dtype = jnp.promote_types(jnp.result_type(*dtypes), jnp.float32)
    distances: jax.Array = model(*(2 * (x.astype(dtype) / pixel_range(x)) - 1 for x in (a, b)))
    return distances
