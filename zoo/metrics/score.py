"""The Inception Score (IS).

Salimans et al., https://arxiv.org/abs/1606.03498, section 4; the numbers are torch-fidelity's.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np

from zoo._errors import ZooError
from zoo._loading.given import Given, model_of
from zoo._model import Model
from zoo.metrics.distance import INCEPTION
from zoo.metrics.pictures import before_head, is_inception_fid, outputs, prepared


class Score(NamedTuple):
    """Mean and standard deviation of the scores of the parts."""

    mean: float
    std: float


def inception_score(
    images: Iterable[Any],
    *,
    model: Given = INCEPTION,
    splits: int = 10,
    seed: int | None = 2020,
    batch_size: int = 64,
) -> Score:
    """Computes how sure a classifier is of each image, and how varied its answers are: higher is better.

    Args:
        images: (n, height, width, channels), or images of one shape one after the other: of uint8, or of
            floats in [0, 1]; gray ones have one channel.
        model: The classifier, or its name, as for `load`; a score by another one than FID's Inception is no
            Inception Score. Of that, the bias of the last layer is left out, as in the authors' program.
        splits: Number of parts that are scored apart.
        seed: Seed of the order that images are divided in, by default torch-fidelity's; None for their own.
        batch_size: Images at a time.

    Raises:
        ZooError: less images than parts, or others than these.
        WeightsError: the model's weights cannot be fetched.
    """
    logits = np.stack([*outputs(model_of(model), images, _logits, batch_size)]).astype(np.float64)
    count = len(logits)
    if not 1 <= splits <= count:
        raise ZooError(f"splits={splits} of {count} images; expected 1 to {count}.")
    if logits.ndim != 2:
        raise ZooError(f"the model gives {logits.shape[1:]} for an image; expected logits of classes.")
    if seed is not None:
        # torch-fidelity's order, which NumPy's new generators do not give.
        logits = logits[np.random.RandomState(seed).permutation(count)]
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    bounds = [part * count // splits for part in range(splits + 1)]
    scores = [_score(log_p[start:end]) for start, end in pairwise(bounds)]
    return Score(float(np.mean(scores)), float(np.std(scores)))


def _score(log_p: np.ndarray) -> float:
    """Returns exp of the mean Kullback-Leibler divergence of (n, classes) answers from their mean."""
    p = np.exp(log_p)
    log_q = np.log(np.maximum(p.mean(0), np.finfo(np.float64).tiny))
    return float(np.exp((p * (log_p - log_q)).sum(-1).mean()))


def _logits(model: Model, images: jax.Array) -> jax.Array:
    x = prepared(model, images)
    if not is_inception_fid(model):
        logits: jax.Array = model(x)
        return logits
    unbiased: jax.Array = before_head(model, x) @ model.variables["params"]["fc"]["kernel"]
    return unbiased
