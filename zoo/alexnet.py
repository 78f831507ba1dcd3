"""AlexNet for images of at least 63 x 63 pixels.

Krizhevsky, https://arxiv.org/abs/1404.5997: the network in one column, without response normalization.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import run, torch_kernel
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.pooling import adaptive_avg_pool, max_pool

HEAD, STEM = ("classifier_6",), ("features_0",)
TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"classifier\.6\..*": "the head"}
inputs = image_inputs

_SIDE = 63  # pixels that leave one after the last pooling


class AlexNet(nn.Module):
    """Five convolutions, some with pooling, and three dense layers."""

    channels: tuple[int, ...]
    hidden: int
    num_classes: int
    in_channels: int
    dropout: float
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        conv = partial(nn.Conv, kernel_init=torch_kernel, dtype=self.dtype)
        dense = partial(nn.Dense, kernel_init=torch_kernel, dtype=self.dtype)
        pool = partial(max_pool, size=3, stride=2)
        first, second, third, fourth, fifth = self.channels
        # Functions have their place, so that the layers have their PyTorch numbers.
        self.features = [
            *(conv(first, (11, 11), 4, 2), nn.relu, pool),
            *(conv(second, (5, 5), padding=2), nn.relu, pool),
            *(conv(third, (3, 3), padding=1), nn.relu),
            *(conv(fourth, (3, 3), padding=1), nn.relu),
            *(conv(fifth, (3, 3), padding=1), nn.relu, pool),
        ]
        self.classifier = [
            *(nn.Dropout(self.dropout), dense(self.hidden), nn.relu),
            *(nn.Dropout(self.dropout), dense(self.hidden), nn.relu),
            dense(self.num_classes),
        ]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits, or (batch, hidden) if 0.

        Raises:
            ZooError: images of another shape, or too small.
        """
        x = checked_images(x, (None, None, self.in_channels), smallest=_SIDE)
        x = adaptive_avg_pool(run(self.features, x, train=train), 6, 6)
        # The dense layers are for images flattened channels first.
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        x = run(self.classifier[:-1], x, train=train)
        return run(self.classifier[-1], x, train=train) if self.num_classes else x


def create(
    *,
    channels: Sequence[int] = (64, 192, 384, 256, 256),
    hidden: int = 4096,
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.5,
    dtype: DTypeLike | None = None,
) -> AlexNet:
    """Builds an AlexNet; the defaults are torchvision's.

    Args:
        channels: Numbers of channels that the five convolutions give.
        hidden: Size of the two dense layers before the last.
        num_classes: Number of logits; 0 leaves the last layer out.
        in_channels: Number of channels of the images.
        dropout: Rate of dropout before each of the first two dense layers.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: another number of convolutions.
    """
    if len(channels) != 5:
        raise ZooError(f"channels={tuple(channels)}: expected five numbers, one for each convolution.")
    return AlexNet(
        channels=tuple(channels),
        hidden=hidden,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        dtype=dtype,
    )
