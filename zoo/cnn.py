"""Convolutional classifier for small images whose sides are divisible by four.

The defaults are the MNIST classifier of the Flax quickstart: 824,458 parameters.
"""

import math
from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.images import checked_images, kernel_shape
from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._nn.pooling import flatten_channels_first

HEAD = ("fc2",)
Conv3x3 = partial(nn.Conv, kernel_size=(3, 3), padding=1)


class CNN(nn.Module):
    """3x3 convolutions, each followed by an activation and 2x2 average pooling, then two dense layers."""

    channels: tuple[int, ...]
    hidden: int
    num_classes: int
    activation: str
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.convs = [Conv3x3(channels, dtype=self.dtype) for channels in self.channels]
        self.fc1 = nn.Dense(self.hidden, dtype=self.dtype)
        self.fc2 = nn.Dense(self.num_classes, dtype=self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) images -> (batch, num_classes) logits, or features if 0.

        Raises:
            ZooError: images of another shape than the weights are for.
        """
        x = self._checked(x)
        activation = ACTIVATIONS[self.activation]
        for conv in self.convs:
            x = nn.avg_pool(activation(conv(x)), (2, 2), strides=(2, 2))
        # As a PyTorch model does: the exported fc1 then needs no permutation.
        x = activation(self.fc1(flatten_channels_first(x)))
        return self.fc2(x) if self.num_classes else x

    def _checked(self, x: jax.Array) -> jax.Array:
        """Returns the images; the dense layer's weights tell how many pixels the pooling has to leave."""
        kernel, dense = (kernel_shape(layer) for layer in (self.convs[0], self.fc1))
        if kernel is None or dense is None:
            return checked_images(x, (None, None, None))
        shrink, left = 2 ** len(self.convs), dense[0] // self.channels[-1]
        side = math.isqrt(left)
        return checked_images(
            x,
            (None, None, kernel[2]),
            example=(side * shrink, side * shrink) if side**2 == left else None,
            fits=lambda height, width: (height // shrink) * (width // shrink) == left,
            rule="" if side**2 == left else f" with (height // {shrink}) * (width // {shrink}) = {left}",
        )


def create(
    *,
    channels: Sequence[int] = (32, 64),
    hidden: int = 256,
    num_classes: int = 10,
    activation: str = "relu",
    dtype: DTypeLike | None = None,
) -> CNN:
    """Builds a CNN; the defaults are the MNIST variant.

    Args:
        channels: Output channels of the convolutions, each of which halves the sides.
        hidden: Size of the dense layer before the head.
        num_classes: Number of logits; 0 leaves the head out.
        activation: Name of the activation, one of ACTIVATIONS.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such activation.
    """
    return CNN(
        channels=tuple(channels),
        hidden=hidden,
        num_classes=num_classes,
        activation=check_activation(activation),
        dtype=dtype,
    )
