"""A model to be proven equal to a PyTorch implementation, and inputs for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, eq=False)  # hashed by identity: what tests make of a case is made once
class Case:
    """A family's configuration and the PyTorch model that it must equal.

    Attributes:
        family: the file in zoo/.
        config: keywords of its `create`.
        twin: makes the PyTorch model.
        inputs: of the Flax model; images are (batch, height, width, channels), height not width.
        more: what else the twin takes, from the Flax module, its variables and the dtype.
        rngs: RNG stream -> the key that calls of the Flax model draw from.
        layout: whose names the twin has: a key of the family's TORCH_NAMES, where it has any.
        drops_maps: whether its dropout is of maps, whose channels PyTorch has first.
        norms: about what the scales of norms are random; see `randomise`.
        pairwise: how many of the outputs, the first ones, have a number for each pair of examples.
        slow: for `make test-all` only.
    """

    family: str
    config: Mapping[str, Any]
    twin: Callable[[], torch.nn.Module]
    inputs: Sequence[np.ndarray]
    more: Callable[[Any, Any, Any], Sequence[np.ndarray]] = lambda module, variables, dtype: ()
    layout: str = ""
    rngs: Mapping[str, Any] = field(default_factory=dict)
    drops_maps: bool = False
    norms: float = 0.0
    pairwise: int = 0
    slow: bool = False


def images(batch: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(7).random((batch, height, width, channels))


def labels(batch: int, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(8).integers(classes, size=batch)


def ids(batch: int, length: int, vocab: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(vocab, size=(batch, length))


def kept(*lengths: int, length: int) -> np.ndarray:
    """Masks of sequences of these lengths, padded on the right."""
    return (np.arange(length) < np.array(lengths)[:, None]).astype(int)
