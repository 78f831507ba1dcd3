"""Small networks of inverted residuals, for telephones and the like.

Version 2: Sandler et al., https://arxiv.org/abs/1801.04381. Version 3, with squeeze-and-excite:
Howard et al., https://arxiv.org/abs/1905.02244.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import Units, divisible, run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.inverted_residual import InvertedResidual, Shape
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, maps_at, stage_indices

HEAD, STEM = ("classifier_1", "classifier_3"), ("features_0_0",)

TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"classifier\.[13]\..*": "the head"}
inputs = image_inputs


class Stage(NamedTuple):
    """A number of equal blocks of the second version, of which the first has the stride.

    Attributes:
        expansion: Channels inside a block for each of its inputs.
        channels: Number of channels of the output.
        blocks: Number of blocks.
        stride: Step of the first block's kernel.
    """

    expansion: int
    channels: int
    blocks: int
    stride: int


class Block(NamedTuple):
    """A block of the third version.

    Attributes:
        size: Side of the kernel, in pixels.
        inside: Number of channels inside.
        channels: Number of channels of the output.
        activation: Name of its activation.
        stride: Step of the kernel.
        squeezes: If true, it has squeeze-and-excite.
    """

    size: int
    inside: int
    channels: int
    activation: str
    stride: int
    squeezes: bool = False


class PlainInvertedResidual(nn.Module):
    """A block of the second version; torchvision's names of its last two layers differ from the third's."""

    shape: Shape
    units: Units

    def setup(self) -> None:
        shape, units = self.shape, self.units
        first = [units.unit(shape.inside, 1)] if shape.inside != shape.inputs else []
        self.conv = [
            *first,
            units.unit(shape.inside, shape.size, shape.stride, groups=shape.inside),
            *units.linear(shape.outputs, 1),
        ]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        out: jax.Array = run(self.conv, x, train=train)
        return x + out if self.shape.adds else out


class MobileNet(nn.Module):
    """A stem, inverted residuals, a 1x1 convolution, and one of HEADS; with `hidden` two last layers."""

    shapes: tuple[Shape, ...]
    activations: tuple[str, ...]
    stem_channels: int
    last_channels: int
    hidden: int
    activation: str
    epsilon: float
    momentum: float
    num_classes: int
    in_channels: int
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        units = Units(
            activation=self.activation, epsilon=self.epsilon, momentum=self.momentum, dtype=self.dtype
        )
        blocks = [
            InvertedResidual(
                shape=shape,
                units=units._replace(activation=activation),
                gate="hard_sigmoid",
            )
            if self.hidden
            else PlainInvertedResidual(shape, units)
            for shape, activation in zip(self.shapes, self.activations, strict=True)
        ]
        self.features = [units.unit(self.stem_channels, 3, 2), *blocks, units.unit(self.last_channels, 1)]
        drop, last = nn.Dropout(self.dropout), self._dense(self.num_classes)
        self.classifier = [self._dense(self.hidden), units.act, drop, last] if self.hidden else [drop, last]

    def _dense(self, channels: int) -> nn.Dense:
        return nn.Dense(channels, kernel_init=nn.initializers.normal(0.01), dtype=self.dtype)

    @property
    def _ends(self) -> list[int]:
        """Places in `features` where stages end: before the next stride, and with the last blocks.

        The last convolution belongs to them in the third version, which has more channels from there on.
        """
        before = [index for index, shape in enumerate(self.shapes) if shape.stride > 1]
        return [*before, len(self.shapes) + (1 if self.hidden else 0)]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        widths = [self.stem_channels, *(shape.outputs for shape in self.shapes), self.last_channels]
        steps = [shape.step for shape in self.shapes if shape.stride > 1]
        return levels_of((2, *steps), [widths[end] for end in self._ends])

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the input of the last layer. With the head "maps":
        what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        if self.out_indices:
            return self.layer_maps(x, [self._ends[index] for index in self.out_indices], train=train)
        x = self.layer_maps(x, [len(self.features) - 1], train=train)[0].mean((1, 2))
        return run(self.classifier if self.num_classes else self.classifier[:-1], x, train=train)

    def layer_maps(
        self, x: jax.Array, indices: Sequence[int], *, train: bool = False
    ) -> tuple[jax.Array, ...]:
        """Returns what the layers of these indices in `features` give, in their order.

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        return maps_at(self.features, x, indices, train=train, whole=self.is_initializing())


# Table 2 of the first paper.
_V2 = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
# Tables 1 and 2 of the second.
_LARGE = (
    Block(3, 16, 16, "relu", 1),
    Block(3, 64, 24, "relu", 2),
    Block(3, 72, 24, "relu", 1),
    Block(5, 72, 40, "relu", 2, squeezes=True),
    Block(5, 120, 40, "relu", 1, squeezes=True),
    Block(5, 120, 40, "relu", 1, squeezes=True),
    Block(3, 240, 80, "hard_swish", 2),
    Block(3, 200, 80, "hard_swish", 1),
    Block(3, 184, 80, "hard_swish", 1),
    Block(3, 184, 80, "hard_swish", 1),
    Block(3, 480, 112, "hard_swish", 1, squeezes=True),
    Block(3, 672, 112, "hard_swish", 1, squeezes=True),
    Block(5, 672, 160, "hard_swish", 2, squeezes=True),
    Block(5, 960, 160, "hard_swish", 1, squeezes=True),
    Block(5, 960, 160, "hard_swish", 1, squeezes=True),
)
_SMALL = (
    Block(3, 16, 16, "relu", 2, squeezes=True),
    Block(3, 72, 24, "relu", 2),
    Block(3, 88, 24, "relu", 1),
    Block(5, 96, 40, "hard_swish", 2, squeezes=True),
    Block(5, 240, 40, "hard_swish", 1, squeezes=True),
    Block(5, 240, 40, "hard_swish", 1, squeezes=True),
    Block(5, 120, 48, "hard_swish", 1, squeezes=True),
    Block(5, 144, 48, "hard_swish", 1, squeezes=True),
    Block(5, 288, 96, "hard_swish", 2, squeezes=True),
    Block(5, 576, 96, "hard_swish", 1, squeezes=True),
    Block(5, 576, 96, "hard_swish", 1, squeezes=True),
)
# variant -> its blocks, and the size of the layer before the logits: the second version has none
VARIANTS: dict[str, tuple[Sequence[Any], int]] = {
    "v2": (_V2, 0),
    "v3_large": (_LARGE, 1280),
    "v3_small": (_SMALL, 1024),
}


def _shapes_v2(stages: Sequence[Stage], width: float) -> list[Shape]:
    shapes, inputs = [], divisible(32 * width)
    for expansion, channels, count, stride in stages:
        for index in range(count):
            outputs = divisible(channels * width)
            shapes.append(
                Shape(
                    inputs=inputs,
                    inside=inputs * expansion,
                    outputs=outputs,
                    size=3,
                    stride=1 if index else stride,
                )
            )
            inputs = outputs
    return shapes


def _shapes_v3(blocks: Sequence[Block], width: float) -> list[Shape]:
    shapes, inputs = [], divisible(16 * width)
    for block in blocks:
        inside, outputs = divisible(block.inside * width), divisible(block.channels * width)
        squeezed = divisible(inside // 4) if block.squeezes else 0
        shapes.append(
            Shape(
                inputs=inputs,
                inside=inside,
                outputs=outputs,
                size=block.size,
                stride=block.stride,
                squeezed=squeezed,
            )
        )
        inputs = outputs
    return shapes


def _dilated(shapes: Sequence[Shape]) -> list[Shape]:
    """Returns blocks whose kernels, from the last stride on, dilate instead.

    Raises:
        ZooError: there is no stride.
    """
    strided = [index for index, shape in enumerate(shapes) if shape.stride > 1]
    if not strided:
        raise ZooError("dilated=True: expected blocks of which one at least has a stride above 1.")
    last = strided[-1]
    return [*shapes[:last], *(shape._replace(dilation=shapes[last].stride) for shape in shapes[last:])]


def create(
    *,
    variant: str = "v2",
    blocks: Sequence[Sequence[Any]] | None = None,
    width: float = 1.0,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dilated: bool = False,
    dropout: float = 0.2,
    dtype: DTypeLike | None = None,
) -> MobileNet:
    """Builds a MobileNet; the defaults are torchvision's mobilenet_v2.

    Args:
        variant: Version and size, one of VARIANTS.
        blocks: Stages of the second version, each (expansion, channels, blocks, stride), or blocks of the
            third, each (size, inside, channels, activation, stride, squeezes); by default the papers'.
        width: Factor of the number of channels in all blocks.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last. A
            stage is all that gives maps of one size.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dilated: If true, blocks of the third version from the last stride on keep height and width, and their
            kernels see pixels further from each other instead, as for segmentation.
        dropout: Rate before the last layer.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head or stage, or `dilated` with the second version or without a stride.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    usual, hidden = VARIANTS[variant]
    if dilated and not hidden:
        raise ZooError(f"dilated=True: expected a third version, found {variant!r}.")
    if hidden:
        parts = [Block(*each) for each in blocks or usual]
        shapes, activation = _shapes_v3(parts, width), "hard_swish"
        shapes = _dilated(shapes) if dilated else shapes
        activations, last = [check_activation(part.activation) for part in parts], 6 * shapes[-1].outputs
    else:
        shapes, activation = _shapes_v2([Stage(*each) for each in blocks or usual], width), "relu6"
        activations, last = [activation] * len(shapes), divisible(1280 * max(1.0, width))
    stages = sum(shape.stride > 1 for shape in shapes)
    return MobileNet(
        shapes=tuple(shapes),
        activations=tuple(activations),
        stem_channels=shapes[0].inputs,
        last_channels=last,
        hidden=divisible(hidden * width) if hidden else 0,
        activation=activation,
        epsilon=1e-3 if hidden else 1e-5,
        momentum=0.01 if hidden else 0.1,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, stages) if head == "maps" else (),
        dtype=dtype,
    )
