"""Calibrated probabilities: temperature scaling (https://arxiv.org/abs/1706.04599, section 4.2)."""

from typing import Any

import numpy as np

from zoo._errors import TrainingError
from zoo._registry import families
from zoo._registry.entry import Entry
from zoo._registry.recipes import Recipe
from zoo.training.tasks import Variables

RANGE = (1e-3, 1e3)  # factors of logits among which the best one is sought
HALVINGS = 60  # of the range: more digits than a float has


def check_temperature(recipe: Recipe, entry: Entry, variables: Variables) -> None:
    """Checks that a recipe's temperature can become a part of the model's head.

    Raises:
        TrainingError: the head is not one dense layer.
    """
    head = families.family(entry).head if entry.family else ()
    if recipe.temperature != 1 and not (
        len(head) == 1 and variables["params"].get(head[0], {}).keys() <= {"kernel", "bias"}
    ):
        raise TrainingError(
            f"temperature is {recipe.temperature}, and the head of {entry.name!r} is not one dense layer "
            "that could be divided by it; leave temperature out."
        )


def with_temperature(variables: Variables, recipe: Recipe, entry: Entry) -> Variables:
    """Returns the variables whose logits are divided by the recipe's temperature: the head's are."""
    if recipe.temperature == 1:
        return variables
    (head,) = families.family(entry).head
    params = variables["params"]
    divided = {name: array / recipe.temperature for name, array in params[head].items()}
    return {**variables, "params": {**params, head: divided}}


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature with which held-out examples have the smallest cross-entropy.

    Args:
        logits: (count, num_classes) of examples that the model was not trained on.
        labels: (count,) class indices.
    """
    low, high = RANGE
    right = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    for _ in range(HALVINGS):
        factor = (low * high) ** 0.5
        # The derivative grows with the factor: the cross-entropy is convex in it.
        slope = ((probabilities(factor * logits) * logits).sum(-1) - right).mean()
        low, high = (low, factor) if slope > 0 else (factor, high)
    return float(1 / factor)


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Returns the mean distance between confidence and accuracy, over bins of equal width (section 3)."""
    found = probabilities(logits)
    confidence, right = found.max(-1), found.argmax(-1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    parts = [np.flatnonzero(places == place) for place in range(bins)]
    return float(
        sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts if len(part))
        / len(labels)
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """(count, num_classes) logits -> probabilities, in float64."""
    shifted: Any = np.exp(np.float64(logits) - np.float64(logits).max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
