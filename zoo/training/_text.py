"""Text as characters to predict one after the other."""

from typing import Any

import numpy as np

LENGTH = 128  # characters of a window
STRIDE = 32  # between the starts of windows to train on; those to measure on do not overlap
TRAINING = 0.9  # share of the text, its beginning


def vocabulary(text: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The characters that occur, in the order of their codes; a token is an index into them."""
    return np.unique(text)


def windows(text: np.ndarray[Any, Any], split: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """ASCII codes -> tokens (count, LENGTH) and the ones that follow each of them, int32."""
    tokens = np.searchsorted(vocabulary(text), text).astype(np.int32)
    end = int(len(tokens) * TRAINING)
    part, stride = (tokens[:end], STRIDE) if split == "train" else (tokens[end:], LENGTH)
    starts = np.arange(0, len(part) - LENGTH, stride)[:, None]
    rows = starts + np.arange(LENGTH)
    return part[rows], part[rows + 1]
