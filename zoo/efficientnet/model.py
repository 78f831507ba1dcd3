"""Networks of inverted residuals with squeeze-and-excite, scaled in depth, width and size of images.

EfficientNet: Tan and Le, https://arxiv.org/abs/1905.11946. Its second version, whose first blocks are fused:
https://arxiv.org/abs/2104.00298.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.convolutions import Units, divisible, run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.inverted_residual import InvertedResidual, Shape
from zoo._nn.options import check_choices
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices

HEAD, STEM = ("classifier_1",), ("features_0_0",)
inputs = image_inputs


class Stage(NamedTuple):
    """A number of equal blocks, of which the first has the stride and changes the number of channels.

    Attributes:
        expansion: Channels inside a block for each of its inputs.
        size: Side of the kernel, in pixels.
        stride: Step of the first block's kernel.
        channels: Number of channels of the output.
        blocks: Number of blocks.
        fused: If true, blocks have no depthwise convolution, and no squeeze-and-excite.
    """

    expansion: int
    size: int
    stride: int
    channels: int
    blocks: int
    fused: bool = False


class EfficientNet(nn.Module):
    """A stem, `stages` of inverted residuals, a 1x1 convolution, and one of HEADS."""

    stages: tuple[Stage, ...]
    stem_channels: int
    last_channels: int
    num_classes: int
    in_channels: int
    activation: str
    squeezes: bool
    epsilon: float
    momentum: float
    same_padding: bool
    stochastic_depth: float
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        units = Units(
            activation=self.activation,
            epsilon=self.epsilon,
            momentum=self.momentum,
            same=self.same_padding,
            dtype=self.dtype,
        )
        total = sum(stage.blocks for stage in self.stages)
        features: list[Any] = [units.unit(self.stem_channels, 3, 2)]
        inputs, index = self.stem_channels, 0
        for stage in self.stages:
            blocks: list[nn.Module] = []
            for _ in range(stage.blocks):
                shape = Shape(
                    inputs=inputs,
                    inside=divisible(inputs * stage.expansion),
                    outputs=stage.channels,
                    size=stage.size,
                    stride=1 if blocks else stage.stride,
                    squeezed=inputs // 4 if self.squeezes and not stage.fused else 0,
                    fused=stage.fused,
                )
                rate = self.stochastic_depth * index / total
                blocks.append(
                    InvertedResidual(
                        shape=shape, units=units, squeeze_activation=self.activation, drop_rate=rate
                    )
                )
                inputs, index = stage.channels, index + 1
            features.append(blocks)
        self.features = [*features, units.unit(self.last_channels, 1)]
        init = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        self.classifier = [
            nn.Dropout(self.dropout),
            nn.Dense(self.num_classes, kernel_init=init, dtype=self.dtype),
        ]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        strides = (2, *(stage.stride for stage in self.stages))
        return levels_of(strides, (self.stem_channels, *(stage.channels for stage in self.stages)))

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, averages of the last convolution. With the head
        "maps": what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        maps = []
        for layers in self.features[: -1 if self.out_indices else None]:
            x = run(layers, x, train=train)
            maps.append(x)
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        x = x.mean((1, 2))
        return run(self.classifier, x, train=train) if self.num_classes else x


# Table 1 of the first paper: b0, without its first and last convolution.
_B0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
# Table 4 of the second paper: s; m and l are of its authors' code, https://github.com/google/automl.
_S = (
    Stage(1, 3, 1, 24, 2, fused=True),
    Stage(4, 3, 2, 48, 4, fused=True),
    Stage(4, 3, 2, 64, 4, fused=True),
    Stage(4, 3, 2, 128, 6),
    Stage(6, 3, 1, 160, 9),
    Stage(6, 3, 2, 256, 15),
)
_M = (
    Stage(1, 3, 1, 24, 3, fused=True),
    Stage(4, 3, 2, 48, 5, fused=True),
    Stage(4, 3, 2, 80, 5, fused=True),
    Stage(4, 3, 2, 160, 7),
    Stage(6, 3, 1, 176, 14),
    Stage(6, 3, 2, 304, 18),
    Stage(6, 3, 1, 512, 5),
)
_L = (
    Stage(1, 3, 1, 32, 4, fused=True),
    Stage(4, 3, 2, 64, 7, fused=True),
    Stage(4, 3, 2, 96, 7, fused=True),
    Stage(4, 3, 2, 192, 10),
    Stage(6, 3, 1, 224, 19),
    Stage(6, 3, 2, 384, 25),
    Stage(6, 3, 1, 640, 7),
)


# The smaller ones of the same code.
_BASE = (
    Stage(1, 3, 1, 16, 1, fused=True),
    Stage(4, 3, 2, 32, 2, fused=True),
    Stage(4, 3, 2, 48, 2, fused=True),
    Stage(4, 3, 2, 96, 3),
    Stage(6, 3, 1, 112, 5),
    Stage(6, 3, 2, 192, 8),
)


class Variant(NamedTuple):
    """A network of a known size.

    Attributes:
        stages: Stages before they are scaled.
        width: Factor of their number of channels.
        depth: Factor of their number of blocks.
        dropout: Rate before the last layer.
        epsilon: Epsilon of the batch norms.
        momentum: Part that a batch has in the running statistics.
        stem: Number of channels of the stem, before it is scaled.
        lite: If true, it has no squeeze-and-excite, ReLU6, and ends that are not scaled.
    """

    stages: tuple[Stage, ...]
    width: float
    depth: float
    dropout: float
    epsilon: float = 1e-5
    momentum: float = 0.1
    stem: int = 32
    lite: bool = False


# width, depth and dropout: https://github.com/tensorflow/tpu, models/official/efficientnet with its folder
# lite, and https://github.com/google/automl; epsilon and momentum are torchvision's where it has the variant.
VARIANTS = {
    "b0": Variant(_B0, 1.0, 1.0, 0.2),
    "b1": Variant(_B0, 1.0, 1.1, 0.2),
    "b2": Variant(_B0, 1.1, 1.2, 0.3),
    "b3": Variant(_B0, 1.2, 1.4, 0.3),
    "b4": Variant(_B0, 1.4, 1.8, 0.4),
    "b5": Variant(_B0, 1.6, 2.2, 0.4, epsilon=1e-3, momentum=0.01),
    "b6": Variant(_B0, 1.8, 2.6, 0.5, epsilon=1e-3, momentum=0.01),
    "b7": Variant(_B0, 2.0, 3.1, 0.5, epsilon=1e-3, momentum=0.01),
    "lite0": Variant(_B0, 1.0, 1.0, 0.2, epsilon=1e-3, lite=True),
    "lite1": Variant(_B0, 1.0, 1.1, 0.2, epsilon=1e-3, lite=True),
    "lite2": Variant(_B0, 1.1, 1.2, 0.3, epsilon=1e-3, lite=True),
    "lite3": Variant(_B0, 1.2, 1.4, 0.3, epsilon=1e-3, lite=True),
    "lite4": Variant(_B0, 1.4, 1.8, 0.3, epsilon=1e-3, lite=True),
    "v2_s": Variant(_S, 1.0, 1.0, 0.2, epsilon=1e-3, stem=24),
    "v2_m": Variant(_M, 1.0, 1.0, 0.3, epsilon=1e-3, stem=24),
    "v2_l": Variant(_L, 1.0, 1.0, 0.4, epsilon=1e-3),
    "v2_b0": Variant(_BASE, 1.0, 1.0, 0.2, epsilon=1e-3),
    "v2_b1": Variant(_BASE, 1.0, 1.1, 0.2, epsilon=1e-3),
    "v2_b2": Variant(_BASE, 1.1, 1.2, 0.3, epsilon=1e-3),
    "v2_b3": Variant(_BASE, 1.2, 1.4, 0.3, epsilon=1e-3),
}


def _channels(channels: float, variant: Variant) -> int:
    """Rounds a number of channels; only the first version's is 90% of it at least."""
    return divisible(channels, least=0.0 if variant.stages[0].fused else 0.9)


def create(
    *,
    variant: str = "b0",
    width: float | None = None,
    depth: float | None = None,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    epsilon: float | None = None,
    momentum: float | None = None,
    same_padding: bool = False,
    stochastic_depth: float = 0.2,
    dropout: float | None = None,
    dtype: DTypeLike | None = None,
) -> EfficientNet:
    """Builds an EfficientNet; the defaults are torchvision's efficientnet_b0.

    Args:
        variant: Network, one of VARIANTS.
        width: Factor of the number of channels in all stages; by default the variant's.
        depth: Factor of the number of blocks in each stage; by default the variant's.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        epsilon: Epsilon of the batch norms; by default torchvision's of the variant.
        momentum: Part that a batch has in the running statistics; by default torchvision's of the variant.
        same_padding: If true, pads as TensorFlow does, on whose networks weights named tf_ were trained.
        stochastic_depth: Rate at which blocks are left out for an example, in training, at the end of the
            network; it rises from 0.
        dropout: Rate before the last layer; by default the variant's.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head or stage.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    known = VARIANTS[variant]
    wide, deep = known.width if width is None else width, known.depth if depth is None else depth
    last = len(known.stages) - 1
    stages = tuple(
        stage._replace(
            channels=_channels(stage.channels * wide, known),
            blocks=stage.blocks if known.lite and index in (0, last) else math.ceil(stage.blocks * deep),
        )
        for index, stage in enumerate(known.stages)
    )
    return EfficientNet(
        stages=stages,
        stem_channels=known.stem if known.lite else _channels(known.stem * wide, known),
        last_channels=1280 if known.lite else _channels(1280 * wide, known),
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        activation="relu6" if known.lite else "silu",
        squeezes=not known.lite,
        epsilon=known.epsilon if epsilon is None else epsilon,
        momentum=known.momentum if momentum is None else momentum,
        same_padding=same_padding,
        stochastic_depth=stochastic_depth,
        dropout=known.dropout if dropout is None else dropout,
        out_indices=stage_indices(out_indices, out_features, len(stages)) if head == "maps" else (),
        dtype=dtype,
    )
