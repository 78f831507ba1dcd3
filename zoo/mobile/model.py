"""Networks for telephones and the like: blocks of several kinds, which each network lists.

With other blocks it is MnasNet (https://arxiv.org/abs/1807.11626), MobileNet of each version (the fourth:
https://arxiv.org/abs/2404.10518), FBNet (https://arxiv.org/abs/2006.02049), MixNet
(https://arxiv.org/abs/1907.09595), LCNet (https://arxiv.org/abs/2109.15099), HardCoRe-NAS
(https://arxiv.org/abs/2102.11646), TinyNet (https://arxiv.org/abs/2010.14819), or one of EfficientNet's
relatives.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.convolutions import Units, conv
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.options import check_choices
from zoo._nn.pooling import SHRINKING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices
from zoo.mobile.attention import AttentionBlock
from zoo.mobile.blocks import Block, MobileBlock, Options, blocks_of

HEAD, STEM = ("classifier",), ("conv_stem",)
TORCH_NAMES = {
    "timm": (
        (r"\.se\.fc1\.", ".se.conv_reduce."),
        (r"\.se\.fc2\.", ".se.conv_expand."),
        (r"\.([dp]w_\w+)_(conv|bn)\.", r".\1.\2."),
        (r"\.attn\.(query|key|value|output)_", r".attn.\1."),
    )
}
REPLACED_HEAD = {r"classifier\..*": "the head"}
inputs = image_inputs

# The last convolution: of the map, with a norm; or of the map's averages, with a bias, alone, or with a norm.
LAST = ("map", "bias", "plain", "norm")


class Mobile(nn.Module):
    """A stem, `stages` of blocks, a 1x1 convolution, and one of HEADS."""

    stages: tuple[tuple[Block, ...], ...]
    stem_channels: int
    last: str
    last_channels: int
    num_classes: int
    in_channels: int
    options: Options
    stochastic_depth: float
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        units = self.options.units
        self.conv_stem, self.bn1 = units.linear(self.stem_channels, 3, 2)
        total = sum(map(len, self.stages))
        inputs, index, stages = self.stem_channels, 0, []
        for stage in self.stages:
            blocks = []
            for block in stage:
                rate = self.stochastic_depth * index / total
                kind = AttentionBlock if block.kind == "mqa" else MobileBlock
                blocks.append(kind(block, inputs, self.options, rate))
                inputs, index = block.channels, index + 1
            stages.append(blocks)
        self.blocks = stages
        self.conv_head = conv(self.last_channels, 1, bias=self.last == "bias", dtype=self.dtype)
        self.bn2, self.norm_head = units.norm(), units.norm()
        self.drop = nn.Dropout(self.dropout)
        init = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        self.classifier = nn.Dense(self.num_classes, kernel_init=init, dtype=self.dtype)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        strides = (math.prod(block.stride for block in stage) for stage in self.stages)
        return levels_of((2, *strides), (self.stem_channels, *(stage[-1].channels for stage in self.stages)))

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the input of the last layer. With the head "maps":
        what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        act = self.options.units.act
        x = act(self.bn1(self.conv_stem(x), use_running_average=not train))
        maps = [x]
        for stage in self.blocks:
            for block in stage:
                x = block(x, train=train)
            maps.append(x)
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        x = self._last(x, train=train)
        return self.classifier(self.drop(x, deterministic=not train)) if self.num_classes else x

    def _last(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(batch, rows, columns, channels) -> (batch, last_channels), or channels where that is 0."""
        if not self.last_channels:
            return x.mean((1, 2))
        of_map = self.last == "map"
        x = self.conv_head(x if of_map else x.mean((1, 2), keepdims=True))
        if of_map or self.last == "norm":
            norm = self.bn2 if of_map else self.norm_head
            x = norm(x, use_running_average=not train)
        return self.options.units.act(x).mean((1, 2))


# MobileNetV3's small network: table 2 of https://arxiv.org/abs/1905.02244
_SMALL = (
    ("ds s2 c16 se8 relu",),
    ("ir s2 m72 c24 relu", "ir m88 c24 relu"),
    ("ir k5 s2 m96 c40 se24", "ir r2 k5 m240 c40 se64"),
    ("ir k5 m120 c48 se32", "ir k5 m144 c48 se40"),
    ("ir k5 s2 m288 c96 se72", "ir r2 k5 m576 c96 se144"),
    ("cn k1 c576",),
)


def create(
    *,
    stages: Sequence[Sequence[str]] = _SMALL,
    stem_channels: int = 16,
    last: str = "bias",
    last_channels: int = 1024,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    activation: str = "hard_swish",
    squeeze_activation: str = "relu",
    gate: str = "hard_sigmoid",
    shrinking: str = "",
    layer_scale: float = 0.0,
    epsilon: float = 1e-5,
    momentum: float = 0.1,
    same_padding: bool = False,
    stochastic_depth: float = 0.0,
    dropout: float = 0.0,
    dtype: DTypeLike | None = None,
) -> Mobile:
    """Builds a mobile network; the defaults are timm's mobilenetv3_small_100.

    Args:
        stages: Blocks of each stage, in words: "ir r2 k5 s2 m72 c40 se24 relu" is two inverted residuals with
            kernels of 5x5, a stride of 2 in the first, 72 channels inside, 40 outside, 24 in
            squeeze-and-excite, and ReLU. The kinds are "ds" (separable), "dsa" (the same, with an activation
            at the end), "ir" (inverted), "er" (fused), "cn" (one convolution), "uir" (universal: "a" and "p"
            are its first and last kernel, and those not named are left out) and "mqa" (attention: "mqa h4 d64
            v2 c160" has four heads of 64, and keys and values of a quarter of the pixels). "noskip" leaves a
            residual connection out, and "skip" adds it to "cn" and "dsa".
        stem_channels: Number of channels of the stem.
        last: Last convolution, one of LAST: "map" comes before the averages, with a norm; others of the
            averages, with a "bias", a "norm", or alone ("plain").
        last_channels: Number of its channels; 0 leaves it out.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        activation: Name of the activation, of all blocks that name no other one.
        squeeze_activation: Name of that inside squeeze-and-excite; empty for the block's.
        gate: Name of the activation at its end.
        shrinking: What halves height and width in blocks: empty for strides, "average", "blur", or
            "blur_zeros" if the image goes on as zeros beyond its edge, not as in a mirror.
        layer_scale: Initial value of the scales of "uir" and "mqa"; 0 leaves them out.
        epsilon: Epsilon of the batch norms.
        momentum: Part that a batch has in the running statistics.
        same_padding: If true, pads as TensorFlow does, on whose networks weights named tf_ were trained.
        stochastic_depth: Rate at which blocks are left out for an example, in training, at the end of the
            network; it rises from 0.
        dropout: Rate before the last layer.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head, stage, last convolution, activation or way to shrink, or other words.
    """
    check_choices(
        head=(head, HEADS),
        last=(last, LAST),
        shrinking=(shrinking, SHRINKING),
        activation=(activation, ACTIVATIONS),
        squeeze_activation=(squeeze_activation, ("", *ACTIVATIONS)),
        gate=(gate, ACTIVATIONS),
    )
    units = Units(activation=activation, epsilon=epsilon, momentum=momentum, same=same_padding, dtype=dtype)
    return Mobile(
        stages=tuple(tuple(chain.from_iterable(map(blocks_of, stage))) for stage in stages),
        stem_channels=stem_channels,
        last=last,
        last_channels=last_channels,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        options=Options(
            units=units,
            squeeze_activation=squeeze_activation,
            gate=gate,
            shrinking=shrinking,
            layer_scale=layer_scale,
        ),
        stochastic_depth=stochastic_depth,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, len(stages)) if head == "maps" else (),
        dtype=dtype,
    )
