"""Residual networks for images of any size.

He et al., https://arxiv.org/abs/1512.03385; bottleneck blocks have their stride in the 3x3 convolution
("v1.5"), as torchvision's. Grouped: https://arxiv.org/abs/1611.05431. Wide: https://arxiv.org/abs/1605.07146.
Deep stems and averaged shortcuts ("d"): https://arxiv.org/abs/1812.01187, figure 2. With squeeze-and-excite:
https://arxiv.org/abs/1709.01507. ResNet-RS: https://arxiv.org/abs/2103.07579.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import BatchNorm
from zoo._nn.options import check_choices, check_options
from zoo._nn.pooling import SHRINKING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices
from zoo.resnet.layers import (
    ATTENTION,
    SHORTCUTS,
    STEM_POOLS,
    STEMS,
    BasicBlock,
    Bottleneck,
    Extras,
    pool_layers,
    stem_layers,
)

HEAD, STEM = ("fc",), ("conv1", "conv1_0")
inputs = image_inputs

BLOCKS = {"basic": 1, "bottleneck": 4}  # outputs for each channel inside


class ResNet(nn.Module):
    """A stem, stages of blocks `layer1`, `layer2`, ... each with half the sides, and one of HEADS."""

    block: str
    blocks: tuple[int, ...]
    channels: int
    widths: tuple[int, ...]
    num_classes: int
    in_channels: int
    stem: str
    stem_pool: str
    shortcut: str
    groups: int
    width_per_group: int
    zero_init_last: bool
    stride_first_stage: bool
    stride_first_conv: bool
    dilated_stages: int
    extras: Extras
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        stem = stem_layers(STEMS[self.stem], self.channels, self.dtype)
        self.conv1 = stem if len(stem) > 1 else stem[0]
        self.bn1 = BatchNorm(dtype=self.dtype)
        # Small images keep their size.
        pooled = STEMS[self.stem].stride == 2
        pool = (self.stem_pool, self.channels, self.extras.shrinking, self.dtype)
        self.maxpool = pool_layers(*pool) if pooled else []
        inputs, dilation = self.channels, 1
        for index, (count, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            stage = [self._block(width, inputs, self._stride(index), dilation)]
            dilation *= 2 if self._dilates(index) else 1
            stage += [self._block(width, width, 1, dilation) for _ in range(count - 1)]
            inputs = width
            setattr(self, f"layer{index + 1}", stage)
        self.fc = nn.Dense(self.num_classes, dtype=self.dtype)

    def _dilates(self, stage: int) -> bool:
        return stage >= len(self.blocks) - self.dilated_stages

    def _stride(self, stage: int) -> int:
        return 2 if (stage or self.stride_first_stage) and not self._dilates(stage) else 1

    def _block(self, width: int, inputs: int, stride: int, dilation: int) -> nn.Module:
        fits = stride == 1 and inputs == width
        common: dict[str, Any] = {
            "channels": width // BLOCKS[self.block],
            "stride": stride,
            "shortcut": "none" if fits else self.shortcut,
            "zero_init_last": self.zero_init_last,
            "extras": self.extras,
            "dtype": self.dtype,
        }
        if self.block == "basic":
            return BasicBlock(**common)
        return Bottleneck(
            **common,
            groups=self.groups,
            width_per_group=self.width_per_group,
            stride_first_conv=self.stride_first_conv,
            dilation=dilation,
        )

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts, and at the end that of the stem before its pooling, if any."""
        stride = STEMS[self.stem].stride
        strides = (stride**2, *(self._stride(index) for index in range(len(self.blocks))))
        unpooled = [Level(stride, self.channels)] if stride > 1 else []
        return (*levels_of(strides, (self.channels, *self.widths)), *unpooled)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the averages of the last stage. With the head
        "maps": what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        stem = self.conv1 if isinstance(self.conv1, Sequence) else [self.conv1]
        x = run([*stem, self.bn1, nn.relu], x, train=train)
        unpooled = x
        x = run(self.maxpool, x, train=train)
        maps = [x]
        for index in range(len(self.blocks)):
            for block in getattr(self, f"layer{index + 1}"):
                x = block(x, train=train)
            maps.append(x)
        if self.out_indices:
            maps.append(unpooled)
            return tuple(maps[index] for index in self.out_indices)
        x = x.mean((1, 2))
        return self.fc(x) if self.num_classes else x


# depth -> block, blocks per stage: table 1 and section 4.2 of the paper; 10, 14 and 26 are timm's
DEPTHS = {
    10: ("basic", (1, 1, 1, 1)),
    14: ("bottleneck", (1, 1, 1, 1)),
    18: ("basic", (2, 2, 2, 2)),
    26: ("bottleneck", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
    **{6 * n + 2: ("basic", (n, n, n)) for n in (3, 5, 7, 9, 18, 200)},  # 20, 32, 44, 56, 110, 1202
}


def create(
    *,
    depth: int = 50,
    block: str | None = None,
    blocks: Sequence[int] | None = None,
    channels: int = 64,
    widths: Sequence[int] | None = None,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    stem: str = "imagenet",
    stem_pool: str = "max",
    shortcut: str = "conv",
    groups: int = 1,
    width_per_group: int = 64,
    attention: str = "none",
    squeeze: float = 1 / 16,
    shrinking: str = "",
    zero_init_last: bool = False,
    stride_first_stage: bool = False,
    stride_first_conv: bool = False,
    dilated_stages: int = 0,
    dtype: DTypeLike | None = None,
) -> ResNet:
    """Builds a ResNet; the defaults are torchvision's resnet50.

    Args:
        depth: Number of layers with weights, one of DEPTHS.
        block: Kind of the blocks, one of BLOCKS; by default that of the depth.
        blocks: Number of blocks of each stage; by default those of the depth.
        channels: Number of channels of the stem.
        widths: Number of channels of each stage's output; by default those of the stem for basic blocks, four
            times as many for bottlenecks, and twice as many for each further stage.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        stem: First convolutions, one of STEMS; "cifar", for small images, keeps their size.
        stem_pool: What halves height and width after them, one of STEM_POOLS: "max" or a convolution, "conv".
        shortcut: Shortcut where shapes differ, one of SHORTCUTS: "conv" (1x1), "pad" (without parameters) or
            "pool" (averages, then 1x1).
        groups: Number of groups in the bottlenecks' 3x3 convolutions.
        width_per_group: Channels of each group in a stage of 64 channels.
        attention: Factors for the channels of a block's output, one of ATTENTION: "squeeze" (of
            squeeze-and-excite) or "eca" (of neighboring channels).
        squeeze: Part of the channels that squeeze-and-excite has inside, rounded to a multiple of 8.
        shrinking: What halves height and width in blocks, and in "max": empty for strides, "average" (2x2) or
            "blur" (Zhang, https://arxiv.org/abs/1904.11486), or "blur_zeros" with zeros beyond the edge.
        zero_init_last: If true, initializes the last scale of a block with zeros: it begins as its shortcut.
        stride_first_stage: If true, the first stage halves height and width, too.
        stride_first_conv: If true, bottlenecks stride in the first 1x1 convolution, as in the paper.
        dilated_stages: Number of last stages of bottlenecks that keep height and width, and whose kernels see
            pixels further from each other instead: Yu et al., https://arxiv.org/abs/1705.09914.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such depth, block, head, stem, shortcut, attention or way to shrink, widths for other
            stages, groups in basic blocks, or what `shrinking` has no place for.
    """
    check_choices(
        depth=(depth, DEPTHS),
        block=(block or "basic", BLOCKS),
        head=(head, HEADS),
        stem=(stem, STEMS),
        stem_pool=(stem_pool, STEM_POOLS),
        shortcut=(shortcut, SHORTCUTS),
        attention=(attention, ATTENTION),
        shrinking=(shrinking, SHRINKING),
    )
    strided = stride_first_stage or stride_first_conv or dilated_stages or stem_pool == "conv"
    check_options(
        ("squeeze", squeeze, squeeze > 0, "a part of the channels, above 0"),
        ("shrinking", shrinking, not (shrinking and strided), "'' where strides or dilations are elsewhere"),
    )
    usual, counts = DEPTHS[depth]
    block, counts = block or usual, tuple(blocks or counts)
    expansion = BLOCKS[block]
    widths = tuple(widths or (channels * expansion * 2**index for index in range(len(counts))))
    if len(widths) != len(counts) or any(width % expansion for width in widths):
        raise ZooError(
            f"widths={widths}: expected {len(counts)} multiples of {expansion}, one for each stage."
        )
    if block == "basic" and (groups, width_per_group) != (1, 64):
        raise ZooError(
            f"groups={groups}, width_per_group={width_per_group}: depth {depth} has blocks without groups."
        )
    if not 0 <= dilated_stages <= (len(counts) - 1 if block == "bottleneck" else 0):
        raise ZooError(
            f"dilated_stages={dilated_stages}: expected 0, or fewer than {len(counts)} of bottlenecks."
        )
    return ResNet(
        block=block,
        blocks=counts,
        channels=channels,
        widths=widths,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        stem=stem,
        stem_pool=stem_pool,
        shortcut=shortcut,
        groups=groups,
        width_per_group=width_per_group,
        zero_init_last=zero_init_last,
        stride_first_stage=stride_first_stage,
        stride_first_conv=stride_first_conv and block == "bottleneck",
        dilated_stages=dilated_stages,
        extras=Extras(attention=attention, squeeze=squeeze, shrinking=shrinking),
        out_indices=stage_indices(out_indices, out_features, len(counts)) if head == "maps" else (),
        dtype=dtype,
    )
