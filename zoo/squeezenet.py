"""SqueezeNets for images of at least 21 x 21 pixels.

Iandola et al., https://arxiv.org/abs/1602.07360; version 1.1 is of the authors' repository,
https://github.com/forresti/SqueezeNet.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.convolutions import run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.options import check_choices
from zoo._nn.pooling import max_pool
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, pooled_maps, stage_indices

HEAD, STEM = ("classifier_1",), ("features_0",)
TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"classifier\.1\..*": "the head"}
inputs = image_inputs

_HE = nn.initializers.variance_scaling(2, "fan_in", "uniform")
# Channels inside and, for each of its two convolutions, at the end of the Fire modules: table 1.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


class Variant(NamedTuple):
    """The first convolution, the Fire modules that follow a pooling, and the smallest side of images."""

    channels: int
    size: int
    pooled: tuple[int, ...]
    smallest: int


VARIANTS = {"1.0": Variant(96, 7, (0, 3, 7), 21), "1.1": Variant(64, 3, (0, 2, 4), 17)}


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

    variant: str
    num_classes: int
    in_channels: int
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        variant = VARIANTS[self.variant]
        sides = (variant.size, variant.size)
        stem = nn.Conv(variant.channels, sides, strides=2, padding=0, kernel_init=_HE, dtype=self.dtype)
        # Functions have their place, so that the layers have their PyTorch numbers.
        features: list[Any] = [stem, nn.relu]
        for index, (squeezed, expanded) in enumerate(_FIRES):
            if index in variant.pooled:
                features.append(partial(max_pool, size=3, stride=2, ceil_mode=True))
            features.append(Fire(squeezed, expanded, self.dtype))
        self.features = features
        head = nn.Conv(self.num_classes, (1, 1), kernel_init=nn.initializers.normal(0.01), dtype=self.dtype)
        self.classifier = [nn.Dropout(self.dropout), head, nn.relu]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        variant = VARIANTS[self.variant]
        ends = [2 * _FIRES[index - 1][1] for index in (*variant.pooled[1:], 0)]
        return levels_of([2] * (1 + len(ends)), [variant.channels, *ends])

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits, which are at least 0.

        Where num_classes is 0: (batch, 512) features, the averages of the last module. With the head "maps":
        what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape, or too small.
        """
        smallest = VARIANTS[self.variant].smallest
        x = checked_images(x, (None, None, self.in_channels), smallest=smallest)
        if self.out_indices:
            first = self.is_initializing()
            return pooled_maps(self.features, x, self.out_indices, train=train, whole=first)
        x = run(self.features, x, train=train)
        if self.num_classes:
            x = run(self.classifier, x, train=train)
        return x.mean((1, 2))


def create(
    *,
    variant: str = "1.0",
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dropout: float = 0.5,
    dtype: DTypeLike | None = None,
) -> SqueezeNet:
    """Builds a SqueezeNet; the defaults are torchvision's squeezenet1_0.

    Args:
        variant: Version, one of VARIANTS; 1.1 computes less than half as much, and is as accurate.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the first convolution; by default
            the last. They end before a pooling.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dropout: Rate of dropout before the last convolution.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head or stage.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    return SqueezeNet(
        variant=variant,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, len(VARIANTS[variant].pooled))
        if head == "maps"
        else (),
        dtype=dtype,
    )
