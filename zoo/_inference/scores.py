"""From a classifier's logits to the scores that it was trained to give."""

from collections.abc import Callable, Mapping

import numpy as np

from zoo._registry.entry import Entry


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probability of each class, where exactly one is right."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return shares


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probability of each class by itself, where several can be right."""
    shares: np.ndarray = np.exp(np.minimum(logits, 0)) / (1 + np.exp(-np.abs(logits)))
    return shares


def identity(logits: np.ndarray) -> np.ndarray:
    """Returns the logits, such as the values of a regression."""
    return logits


# Values of an entry's field `scores`.
SCORES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "identity": identity,
    "tanh": np.tanh,
}
PROBABILITIES = ("softmax", "sigmoid")


def kind(entry: Entry, classes: int) -> str:
    """Returns which of SCORES a model of so many classes has: one alone would always have probability 1."""
    return entry.scores or ("identity" if classes == 1 else "softmax")


def scores(entry: Entry, logits: np.ndarray) -> np.ndarray:
    """(count, classes) logits -> (count, classes) scores, float64."""
    return SCORES[kind(entry, logits.shape[-1])](np.asarray(logits, np.float64))
