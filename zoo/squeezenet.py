"""SqueezeNets for images of at least 21 x 21 pixels.

Iandola et al., https://arxiv.org/abs/1602.07360; version 1.1 is of the authors' repository,
https://github.com/forresti/SqueezeNet.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.pooling import max_pool

HEAD, STEM = ("classifier_1",), ("features_0",)
TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"classifier\.1\..*": "the head"}
inputs = image_inputs

_HE = nn.initializers.variance_scaling(2, "fan_in", "uniform")
# Channels inside and, for each of its two convolutions, at the end of the Fire modules: table 1.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


class Version(NamedTuple):
    """The first convolution, the Fire modules that follow a pooling, and the smallest side of images."""

    channels: int
    size: int
    pooled: tuple[int, ...]
    smallest: int


VERSIONS = {"1.0": Version(96, 7, (0, 3, 7), 21), "1.1": Version(64, 3, (0, 2, 4), 17)}


class Fire(nn.Module):
    """A 1x1 convolution that squeezes the channels, and a 1x1 and a 3x3 one that expand them."""

    squeezed: int
    expanded: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        conv = partial(nn.Conv, kernel_init=_HE, dtype=self.dtype)
        self.squeeze = conv(self.squeezed, (1, 1))
        self.expand1x1 = conv(self.expanded, (1, 1))
        self.expand3x3 = conv(self.expanded, (3, 3), padding=1)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, any) -> (batch, height, width, 2 * expanded)."""
        x = nn.relu(self.squeeze(x))
        return nn.relu(jnp.concatenate([self.expand1x1(x), self.expand3x3(x)], axis=-1))


class SqueezeNet(nn.Module):
    """A convolution, eight Fire modules, and a 1x1 convolution whose averages are the logits."""

    version: str
    num_classes: int
    in_channels: int
    dropout: float
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        version = VERSIONS[self.version]
        sides = (version.size, version.size)
        stem = nn.Conv(version.channels, sides, 2, padding=0, kernel_init=_HE, dtype=self.dtype)
        # Functions have their place, so that the layers have their PyTorch numbers.
        features: list[Any] = [stem, nn.relu]
        for index, (squeezed, expanded) in enumerate(_FIRES):
            if index in version.pooled:
                features.append(partial(max_pool, size=3, stride=2, ceil_mode=True))
            features.append(Fire(squeezed, expanded, self.dtype))
        self.features = features
        head = nn.Conv(self.num_classes, (1, 1), kernel_init=nn.initializers.normal(0.01), dtype=self.dtype)
        self.classifier = [nn.Dropout(self.dropout), head, nn.relu]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits, which are at least 0.

        Where num_classes is 0: (batch, 512) features, the averages of the last module.

        Raises:
            ZooError: images of another shape, or too small.
        """
        smallest = VERSIONS[self.version].smallest
        x = checked_images(x, (None, None, self.in_channels), smallest=smallest)
        x = run(self.features, x, train=train)
        if self.num_classes:
            x = run(self.classifier, x, train=train)
        return x.mean((1, 2))


def create(
    *,
    version: str = "1.0",
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.5,
    dtype: DTypeLike | None = None,
) -> SqueezeNet:
    """Builds a SqueezeNet; the defaults are torchvision's squeezenet1_0.

    Args:
        version: One of VERSIONS; 1.1 computes less than half as much, and is as accurate.
        num_classes: Number of logits; 0 leaves the last layer out.
        in_channels: Number of channels of the images.
        dropout: Rate of dropout before the last convolution.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such version.
    """
    if version not in VERSIONS:
        raise ZooError(f"no version {version!r}; choose one of {', '.join(VERSIONS)}.")
    return SqueezeNet(
        version=version, num_classes=num_classes, in_channels=in_channels, dropout=dropout, dtype=dtype
    )
