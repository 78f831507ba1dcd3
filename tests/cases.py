"""One line for each model to be proven equal to a PyTorch implementation; a new model is a new line here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import torch

from tests import twins


@dataclass(frozen=True)
class Case:
    """A family's configuration and the PyTorch model that it must equal.

    Attributes:
        family: the file in zoo/.
        config: keywords of its `create`.
        twin: makes the PyTorch model.
        inputs: of the Flax model; images are (batch, height, width, channels), height not width.
        more: what else the twin takes, from the Flax module, its variables and the dtype.
        layout: whose names the twin has: a key of the family's TORCH_NAMES, where it has any.
    """

    family: str
    config: Mapping[str, Any]
    twin: Callable[[], torch.nn.Module]
    inputs: Sequence[np.ndarray]
    more: Callable[[Any, Any, Any], Sequence[np.ndarray]] = lambda module, variables, dtype: ()
    layout: str = ""
    rngs: Mapping[str, Any] = field(default_factory=dict)


def images(batch: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(7).random((batch, height, width, channels))


def labels(batch: int, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(8).integers(classes, size=batch)


NOISE = {"noise": jax.random.key(3)}


def noise(module: Any, variables: Any, dtype: Any) -> Sequence[np.ndarray]:
    """What the VAE draws from its stream: a latent of mean 0 and variance 1."""
    zeros = np.zeros((3, module.latent_dim), dtype)
    return (np.asarray(module.apply(variables, zeros, zeros, method="reparameterize", rngs=NOISE)),)


CASES = {
    "mlp": Case("mlp", {}, lambda: twins.MLP(12 * 8 * 2), [images(3, 12, 8, 2)]),
    "mlp, deeper": Case(
        "mlp", {"hidden": [9, 8, 7]}, lambda: twins.MLP(96, (9, 8, 7, 10)), [images(3, 12, 8, 1)]
    ),
    "cnn": Case("cnn", {}, lambda: twins.CNN(12, 8), [images(3, 12, 8, 1)]),
    "cnn, colour": Case("cnn", {"num_classes": 7}, lambda: twins.CNN(8, 16, 3, 7), [images(3, 8, 16, 3)]),
    "vae": Case("vae", {}, twins.VAE, [images(3, 28, 28, 1), labels(3)], noise, rngs=NOISE),
    "vae, colour": Case(
        "vae",
        {"input_shape": [6, 5, 3], "latent_dim": 4},
        lambda: twins.VAE(3, 6, 5, 4),
        [images(3, 6, 5, 3), labels(3)],
        noise,
        rngs=NOISE,
    ),
}
