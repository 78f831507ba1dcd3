"""Multilayer perceptron: images flattened, hidden layers with an activation between, logits.

The defaults are the MNIST classifier on the front page of the Flax documentation: 784-128-10 with ReLU.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.images import flattened, kernel_shape
from zoo._nn.layers import ACTIVATIONS, check_activation


class MLP(nn.Module):
    """Dense layers with an activation after each but the last."""

    features: tuple[int, ...]
    activation: str
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.layers = [nn.Dense(features, dtype=self.dtype) for features in self.features]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, ...) inputs, flattened row by row -> (batch, num_classes) logits.

        Raises:
            ZooError: the examples have not as many numbers as the weights are for.
        """
        kernel = kernel_shape(self.layers[0])
        x = flattened(x, kernel and kernel[:1], name="inputs")
        for layer in self.layers[:-1]:
            x = ACTIVATIONS[self.activation](layer(x))
        return self.layers[-1](x)


def create(
    *,
    hidden: Sequence[int] = (128,),
    num_classes: int = 10,
    activation: str = "relu",
    dtype: DTypeLike | None = None,
) -> MLP:
    """Builds an MLP; the defaults are the MNIST variant.

    Args:
        hidden: Sizes of the hidden layers.
        num_classes: Number of logits.
        activation: Name of the activation after each hidden layer, one of ACTIVATIONS.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such activation.
    """
    return MLP(features=(*hidden, num_classes), activation=check_activation(activation), dtype=dtype)
