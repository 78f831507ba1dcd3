"""Small networks of inverted residuals that a search found for telephones.

MnasNet: Tan et al., https://arxiv.org/abs/1807.11626; "B1", which has no squeeze-and-excite, as torchvision.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import Units, divisible, run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.inverted_residual import Shape
from zoo._nn.options import check_choices
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices

HEAD, STEM = ("classifier_1",), ("layers_0",)

TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"classifier\.1\..*": "the head"}
inputs = image_inputs

_MOMENTUM = 1 - 0.9997  # of the batch norms, from TensorFlow's


class Block(nn.Module):
    """A 1x1 convolution to more channels, one of each channel by itself, and 1x1 to fewer."""

    shape: Shape
    units: Units

    def setup(self) -> None:
        shape, units = self.shape, self.units
        self.layers = [
            *units.unit(shape.inside, 1),
            *units.unit(shape.inside, shape.size, shape.stride, groups=shape.inside),
            *units.linear(shape.outputs, 1),
        ]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        out: jax.Array = run(self.layers, x, train=train)
        return x + out if self.shape.adds else out


# Of each stage: expansion, size of the kernel, stride, channels. From the authors' code,
# https://github.com/tensorflow/tpu, models/official/mnasnet.
_STAGES = ((3, 3, 2, 24), (3, 5, 2, 40), (6, 5, 2, 80), (6, 3, 1, 96), (6, 5, 2, 192), (6, 3, 1, 320))


class MnasNet(nn.Module):
    """A stem, stages of blocks, a 1x1 convolution, and one of HEADS."""

    blocks: tuple[int, ...]
    width: float
    num_classes: int
    in_channels: int
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        units = Units("relu", momentum=_MOMENTUM, dtype=self.dtype)
        first, inputs = divisible(32 * self.width), divisible(16 * self.width)
        stem = [*units.unit(first, 3, 2), *units.unit(first, 3, groups=first), *units.linear(inputs, 1)]
        stages = []
        for (expansion, size, stride, channels), count in zip(_STAGES, self.blocks, strict=True):
            outputs, blocks = divisible(channels * self.width), []
            for index in range(count):
                shape = Shape(
                    inputs=inputs,
                    inside=inputs * expansion,
                    outputs=outputs,
                    size=size,
                    stride=1 if index else stride,
                )
                blocks.append(Block(shape, units))
                inputs = outputs
            stages.append(blocks)
        self.layers = [*stem, *stages, *units.unit(1280, 1)]
        init = nn.initializers.variance_scaling(1, "fan_out", "uniform")
        self.classifier = [
            nn.Dropout(self.dropout),
            nn.Dense(self.num_classes, kernel_init=init, dtype=self.dtype),
        ]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        widths = (16, *(channels for _, _, _, channels in _STAGES))
        strides = (2, *(stride for _, _, stride, _ in _STAGES))
        return levels_of(strides, [divisible(each * self.width) for each in widths])

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, 1280) features, the averages of the last convolution. With the head
        "maps": what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        stages = len(_STAGES)
        x = run(self.layers[: -3 - stages], x, train=train)
        maps = [x]
        for blocks in self.layers[-3 - stages : -3]:
            x = run(blocks, x, train=train)
            maps.append(x)
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        x = run(self.layers[-3:], x, train=train).mean((1, 2))
        return run(self.classifier, x, train=train) if self.num_classes else x


def create(
    *,
    blocks: Sequence[int] = (3, 3, 3, 2, 4, 1),
    width: float = 1.0,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dropout: float = 0.2,
    dtype: DTypeLike | None = None,
) -> MnasNet:
    """Builds a MnasNet; the defaults are torchvision's mnasnet1_0.

    Args:
        blocks: Number of blocks of each of the six stages.
        width: Factor of the number of channels, above 0; torchvision has 0.5, 0.75, 1 and 1.3.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dropout: Rate before the last layer.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head or stage, blocks for other stages, or a width of 0 and less.
    """
    check_choices(head=(head, HEADS))
    if len(blocks) != len(_STAGES):
        raise ZooError(f"blocks={blocks}: expected {len(_STAGES)} of them, one for each stage.")
    if width <= 0:
        raise ZooError(f"width={width}: expected a factor above 0.")
    return MnasNet(
        blocks=tuple(blocks),
        width=width,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, len(_STAGES)) if head == "maps" else (),
        dtype=dtype,
    )
