"""DenseNets for images of at least 29 x 29 pixels.

Huang et al., https://arxiv.org/abs/1608.06993: DenseNet-BC, with bottlenecks and compression.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.convolutions import conv, run, torch_kernel
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import BatchNorm
from zoo._nn.options import check_choices
from zoo._nn.pooling import max_pool
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices

HEAD, STEM = ("classifier",), ("features/conv0",)
TORCH_NAMES = {
    "torchvision": (),  # every layer has its torchvision name
    "timm": (),
    "torchvision_files": ((r"\.(norm|conv)([12])\.", r".\1.\2."),),  # older than its model
}
REPLACED_HEAD = {r"classifier\..*": "the head"}
inputs = image_inputs

_HE = nn.initializers.variance_scaling(2, "fan_in", "normal")
_SMALLEST = 29  # pixels of which the poolings leave one


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, each after its norm, that give `growth` new channels."""

    growth: int
    bottleneck: int
    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.norm1 = BatchNorm(dtype=self.dtype)
        self.conv1 = conv(self.bottleneck * self.growth, 1, init=_HE, dtype=self.dtype)
        self.norm2 = BatchNorm(dtype=self.dtype)
        self.conv2 = conv(self.growth, 3, init=_HE, dtype=self.dtype)
        self.drop = nn.Dropout(self.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, height, width, growth)."""
        layers = [self.norm1, nn.relu, self.conv1, self.norm2, nn.relu, self.conv2, self.drop]
        out: jax.Array = run(layers, x, train=train)
        return out


class DenseBlock(nn.Module):
    """Layers `denselayer1`, `denselayer2`, ... of which each reads what all before it have given."""

    layers: int
    growth: int
    bottleneck: int
    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        for index in range(self.layers):
            layer = DenseLayer(
                growth=self.growth, bottleneck=self.bottleneck, dropout=self.dropout, dtype=self.dtype
            )
            setattr(self, f"denselayer{index + 1}", layer)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> (batch, height, width, channels + layers * growth)."""
        for index in range(self.layers):
            new = getattr(self, f"denselayer{index + 1}")(x, train=train)
            x = jnp.concatenate([x, new], axis=-1)
        return x


class Transition(nn.Module):
    """A 1x1 convolution to fewer channels, and half the sides."""

    channels: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.norm = BatchNorm(dtype=self.dtype)
        self.conv = conv(self.channels, 1, init=_HE, dtype=self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, height // 2, width // 2, channels)."""
        pool = partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2))
        out: jax.Array = run([self.norm, nn.relu, self.conv, pool], x, train=train)
        return out


class Features(nn.Module):
    """A stem, and blocks `denseblock1`, `denseblock2`, ... with transitions between them."""

    blocks: tuple[int, ...]
    growth: int
    stem_channels: int
    bottleneck: int
    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.conv0 = conv(self.stem_channels, 7, 2, init=_HE, dtype=self.dtype)
        self.norm0 = BatchNorm(dtype=self.dtype)
        width, last = self.stem_channels, len(self.blocks)
        for index, layers in enumerate(self.blocks, start=1):
            block = DenseBlock(
                layers=layers,
                growth=self.growth,
                bottleneck=self.bottleneck,
                dropout=self.dropout,
                dtype=self.dtype,
            )
            setattr(self, f"denseblock{index}", block)
            width += layers * self.growth
            if index < last:
                width //= 2
                setattr(self, f"transition{index}", Transition(width, self.dtype))
        self.norm5 = BatchNorm(dtype=self.dtype)  # torchvision's name, whatever the number of blocks

    def maps(self, x: jax.Array, *, train: bool = False) -> list[jax.Array]:
        """Returns what the stem, before its pooling, and each of the blocks give, the last one normalized."""
        maps = [run([self.conv0, self.norm0, nn.relu], x, train=train)]
        x = max_pool(maps[0], 3, 2, padding=1)
        last = len(self.blocks)
        for index in range(1, last + 1):
            x = getattr(self, f"denseblock{index}")(x, train=train)
            maps.append(x)
            if index < last:
                x = getattr(self, f"transition{index}")(x, train=train)
        maps[-1] = nn.relu(run(self.norm5, x, train=train))
        return maps

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, rows, columns, channels)."""
        return self.maps(x, train=train)[-1]


class DenseNet(nn.Module):
    """Features, averaged, and a dense layer."""

    blocks: tuple[int, ...]
    growth: int
    stem_channels: int
    bottleneck: int
    num_classes: int
    in_channels: int
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.features = Features(
            blocks=self.blocks,
            growth=self.growth,
            stem_channels=self.stem_channels,
            bottleneck=self.bottleneck,
            dropout=self.dropout,
            dtype=self.dtype,
        )
        self.classifier = nn.Dense(self.num_classes, kernel_init=torch_kernel, dtype=self.dtype)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        widths, after = [self.stem_channels], self.stem_channels
        for layers in self.blocks:
            widths.append(after + layers * self.growth)
            after = widths[-1] // 2
        return levels_of([2] * len(widths), widths)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the averages of the last block. With the head
        "maps": what the blocks in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape, or too small.
        """
        x = checked_images(x, (None, None, self.in_channels), smallest=_SMALLEST)
        if self.out_indices:
            maps = self.features.maps(x, train=train)
            return tuple(maps[index] for index in self.out_indices)
        x = self.features(x, train=train).mean((1, 2))
        return self.classifier(x) if self.num_classes else x


# depth -> channels of the stem, new channels of a layer, layers per block: table 1; 161 is the authors' own
DEPTHS = {
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}


def create(
    *,
    depth: int = 121,
    blocks: Sequence[int] | None = None,
    growth: int | None = None,
    stem_channels: int | None = None,
    bottleneck: int = 4,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dropout: float = 0.0,
    dtype: DTypeLike | None = None,
) -> DenseNet:
    """Builds a DenseNet; the defaults are torchvision's densenet121.

    Args:
        depth: Number of layers with weights, one of DEPTHS.
        blocks: Number of layers of each block; by default those of the depth.
        growth: Number of channels that each layer adds; by default that of the depth.
        stem_channels: Number of channels of the stem; by default that of the depth.
        bottleneck: Channels inside a layer for each that it adds.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Blocks whose outputs are the maps, counted from 1, 0 is the stem before its pooling; by
            default the last, which is normalized.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dropout: Rate of dropout at the end of each layer.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such depth, head or block.
    """
    check_choices(depth=(depth, DEPTHS), head=(head, HEADS))
    usual_channels, usual_growth, usual_blocks = DEPTHS[depth]
    blocks = tuple(blocks or usual_blocks)
    return DenseNet(
        blocks=blocks,
        growth=growth or usual_growth,
        stem_channels=stem_channels or usual_channels,
        bottleneck=bottleneck,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, len(blocks)) if head == "maps" else (),
        dtype=dtype,
    )
