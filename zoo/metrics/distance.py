"""The Frechet inception distance (FID), and the same by another network's features.

Heusel et al., https://arxiv.org/abs/1706.08500; the numbers are torch-fidelity's.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

from zoo._loading.given import Given, model_of
from zoo.metrics.frechet import Statistics, frechet_distance, statistics
from zoo.metrics.pictures import features, outputs

Images: TypeAlias = Iterable[Any]
INCEPTION = "inception_fid"  # whose weights the field compares by


def image_statistics(images: Images, *, model: Given = INCEPTION, batch_size: int = 64) -> Statistics:
    """Computes mean and covariance of the features of images, to compare other images with.

    Args:
        images: (n, height, width, channels), or images of one shape one after the other: of uint8, or of
            floats in [0, 1]; gray ones have one channel. For FID they may have any size.
        model: A classifier whose features to take, those that its head reads, or its name, as for `load`,
            whose weights are then loaded. Another one than FID's takes images of its own size.
        batch_size: Images at a time.

    Raises:
        ZooError: less than two images, or others than these, or a model without a head.
        WeightsError: the model's weights cannot be fetched.
    """
    return statistics(outputs(model_of(model), images, features, batch_size))


def fid(
    images_a: Images | Statistics,
    images_b: Images | Statistics,
    *,
    model: Given = INCEPTION,
    batch_size: int = 64,
) -> float:
    """Computes the Frechet inception distance of two sets of images: 0 for equal sets, and larger for others.

    Papers take 50,000 images of each; of fewer the distance is larger.

    Args:
        images_a: Images as for `image_statistics`, or their statistics by the same model.
        images_b: Others; the order of the two is of no importance.
        model: As for `image_statistics`; a distance by another model's features is no FID.
        batch_size: Images at a time.

    Examples:
        >>> real = zoo.metrics.image_statistics(photos)
        >>> zoo.metrics.fid(generated, real)

    Raises:
        ZooError: less than two images of a set, or others than these.
        WeightsError: the model's weights cannot be fetched.
    """
    found = model_of(model)
    first, second = (
        each if isinstance(each, Statistics) else image_statistics(each, model=found, batch_size=batch_size)
        for each in (images_a, images_b)
    )
    return frechet_distance(first, second)
