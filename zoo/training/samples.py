"""Measures the images that a model draws, by their Frechet distance from a test set."""

import os
from collections.abc import Iterator

import numpy as np

from zoo import metrics
from zoo._errors import TrainingError
from zoo._loading.given import Given, model_of
from zoo._loading.load import load_located
from zoo._loading.resolve import Name, resolve
from zoo._model import Model, record_of
from zoo._registry import families
from zoo._registry.recipes import listed_recipes
from zoo.metrics.distance import INCEPTION
from zoo.training.data import Dataset, load_split
from zoo.training.datasets import DATASETS
from zoo.training.measure import recipe_of

_BATCH = 500  # images that are drawn at a time


def evaluate_samples(
    name: Name,
    *,
    features: Given = INCEPTION,
    data: str | os.PathLike[str] | None = None,
    dataset: Dataset | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Draws an image of the class of each test image, and measures how far the two sets are apart.

    Args:
        name: A name of the manifest, or a directory that `zoo.save` or `train` wrote, of a model that draws
            images, such as `vae_mnist`.
        features: Model by whose features the distance is, or its name: by default FID's Inception, which
            is slow without an accelerator; `cnn_mnist` is small, and knows digits.
        data: Directory of the data set's files; by default they are downloaded.
        dataset: Data set; by default the recipe's.
        seed: Seed of the images.

    Returns:
        The distance, by a name such as `mnist_test_fid` or `mnist_test_frechet_cnn_mnist`.

    Raises:
        TrainingError: the model draws no images, or no recipe says of which data set.
        DataError: the data cannot be read or downloaded.
        WeightsError: the weights of one of the models cannot be fetched.
    """
    located = resolve(name)
    if located.entry.family is None or families.family(located.entry).sample is None:
        raise TrainingError(
            f"{located.entry.name!r} draws no images; the families that do are {families.having('sample')}."
        )
    recipe = recipe_of(located)
    if recipe.dataset not in DATASETS and dataset is None:
        raise TrainingError(f"no test set is known for {located.entry.name!r}; there are {listed_recipes()}.")
    dataset = dataset or DATASETS[recipe.dataset]
    judge = model_of(features)  # before anything is computed: its weights may be missing
    examples = load_split(dataset, "test", data)
    drawn = _drawn(load_located(located, pretrained=True), np.asarray(examples.labels), seed)
    judged = record_of(judge).name
    measure = "fid" if judged == INCEPTION else f"frechet_{judged.replace('-', '_')}"
    distance = metrics.fid(drawn, np.asarray(examples.inputs), model=judge)
    return {f"{dataset.name}_test_{measure}": distance}


def _drawn(model: Model, labels: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yields an image of each class, as floats in [0, 1]."""
    sample = families.family(record_of(model)).sample
    assert sample is not None  # the caller has asked
    for number, start in enumerate(range(0, len(labels), _BATCH)):
        yield from np.asarray(sample(model, labels[start : start + _BATCH], seed=seed + number))
