"""Cases of mlp, cnn and vae."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import torch

from tests.cases.case import Case, images, labels
from tests.reference import twins

NOISE = {"noise": jax.random.key(3)}


def noise(module: Any, variables: Any, dtype: Any) -> Sequence[np.ndarray]:
    """Returns the latent of mean 0 and variance 1 that the VAE draws from its stream."""
    zeros = np.zeros((3, module.latent_dim), dtype)
    return (np.asarray(module.apply(variables, zeros, zeros, method="reparameterize", rngs=NOISE)),)


CASES = {
    "mlp": Case("mlp", {}, lambda: twins.MLP(12 * 8 * 2), [images(3, 12, 8, 2)]),
    "mlp, deeper": Case(
        "mlp", {"hidden": [9, 8, 7]}, lambda: twins.MLP(96, (9, 8, 7, 10)), [images(3, 12, 8, 1)]
    ),
    "cnn": Case("cnn", {}, lambda: twins.CNN(12, 8), [images(3, 12, 8, 1)]),
    "cnn, colour": Case("cnn", {"num_classes": 7}, lambda: twins.CNN(8, 16, 3, 7), [images(3, 8, 16, 3)]),
    "vae": Case(
        "vae",
        {"output_activation": "sigmoid"},
        twins.VAE,
        [images(3, 28, 28, 1), labels(3)],
        noise,
        rngs=NOISE,
    ),
    "vae, colour, as in the article": Case(
        "vae",
        {"input_shape": [6, 5, 3], "latent_dim": 4},
        lambda: twins.VAE(3, 6, 5, 4, torch.relu),
        [images(3, 6, 5, 3), labels(3)],
        noise,
        rngs=NOISE,
        slow=True,
    ),
}
