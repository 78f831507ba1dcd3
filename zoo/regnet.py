"""Residual networks of a regular design: X of grouped convolutions, Y with squeeze-and-excite.

RegNet: Radosavovic et al., https://arxiv.org/abs/2003.13678.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import SqueezeExcite, Units, run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.options import check_choices
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices

HEAD, STEM = ("fc",), ("stem_0",)

_DEPTH = 32  # blocks of a stage that the names are known of; the deepest published one has 17
TORCH_NAMES = {
    "torchvision": (),  # every layer has its torchvision name
    "timm": (
        *((rf"^trunk_output\.block(\d+)\.block\d+-{n}\.", rf"s\1.b{n + 1}.") for n in range(_DEPTH)),
        *((rf"\.f\.{part}\.", f".conv{number}.") for part, number in (("a", 1), ("b", 2), ("c", 3))),
        (r"\.f\.se\.", ".se."),
        (r"\.proj\.", ".downsample."),
        (r"(^stem|\.conv\d|\.downsample)\.0\.", r"\1.conv."),
        (r"(^stem|\.conv\d|\.downsample)\.1\.", r"\1.bn."),
        (r"^fc\.", "head.fc."),
    ),
}
REPLACED_HEAD = {r"(head\.)?fc\..*": "the head"}
inputs = image_inputs


class Sizes(NamedTuple):
    """Sizes of a block: its channels, those of a group, those inside squeeze-and-excite, the stride."""

    inputs: int
    outputs: int
    group: int
    squeezed: int
    stride: int


class Transform(nn.Module):
    """A 3x3 convolution in groups between two 1x1, with squeeze-and-excite before the last."""

    sizes: Sizes
    units: Units

    def setup(self) -> None:
        width, units = self.sizes.outputs, self.units
        self.a = units.unit(width, 1)
        self.b = units.unit(width, 3, self.sizes.stride, groups=width // self.sizes.group)
        if self.sizes.squeezed:
            self.se = SqueezeExcite(width, self.sizes.squeezed, units.activation, dtype=units.dtype)
        self.c = units.linear(width, 1)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        squeezes = [self.se] if self.sizes.squeezed else []
        return run([self.a, self.b, squeezes, self.c], x, train=train)


class Block(nn.Module):
    """A transform beside a shortcut, which is a 1x1 convolution where shapes differ."""

    sizes: Sizes
    units: Units

    def setup(self) -> None:
        sizes = self.sizes
        fits = sizes.stride == 1 and sizes.inputs == sizes.outputs
        self.proj = [] if fits else self.units.linear(sizes.outputs, 1, sizes.stride)
        self.f = Transform(sizes, self.units)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        return self.units.act(run(self.proj, x, train=train) + self.f(x, train=train))


class Stage(nn.Module):
    """Blocks of one width, `block1-0`, `block1-1` ... in the first stage; the first one halves the sides."""

    number: int
    sizes: tuple[Sizes, ...]
    units: Units

    def setup(self) -> None:
        for name, sizes in zip(self._names(), self.sizes, strict=True):
            setattr(self, name, Block(sizes, self.units))

    def _names(self) -> list[str]:
        return [f"block{self.number}-{index}" for index in range(len(self.sizes))]

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, any) -> (batch, height / 2, width / 2, width of the blocks)."""
        return run([getattr(self, name) for name in self._names()], x, train=train)


class Trunk(nn.Module):
    """Stages `block1`, `block2` ...; gives the output of each."""

    stages: tuple[tuple[Sizes, ...], ...]
    units: Units

    def setup(self) -> None:
        for number, sizes in enumerate(self.stages, 1):
            setattr(self, f"block{number}", Stage(number, sizes, self.units))

    def __call__(self, x: jax.Array, *, train: bool = False) -> list[jax.Array]:
        """(batch, height, width, any) -> what each stage gives, with half the sides of the one before."""
        maps = [x]
        for number in range(1, len(self.stages) + 1):
            maps.append(getattr(self, f"block{number}")(maps[-1], train=train))
        return maps[1:]


class RegNet(nn.Module):
    """A stem, stages of blocks, and one of HEADS."""

    stages: tuple[tuple[Sizes, ...], ...]
    stem_channels: int
    num_classes: int
    in_channels: int
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        units = Units("relu", dtype=self.dtype)
        self.stem = units.unit(self.stem_channels, 3, 2)
        self.trunk_output = Trunk(self.stages, units)
        self.fc = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.01), dtype=self.dtype)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        widths = [self.stem_channels, *(stage[-1].outputs for stage in self.stages)]
        return levels_of([2] * len(widths), widths)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the averages of the last stage. With the head
        "maps": what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        x = run(self.stem, checked_images(x, (None, None, self.in_channels)), train=train)
        maps = [x, *self.trunk_output(x, train=train)]
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        x = maps[-1].mean((1, 2))
        return self.fc(x) if self.num_classes else x


class Variant(NamedTuple):
    """Blocks and channels of each stage, channels of a group, and squeezed ones for each input of a block."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    group: int
    squeeze: float = 0.0


# Figures 16 to 18 of the paper and its code, https://github.com/facebookresearch/pycls; where torchvision
# rounds widths to multiples of groups in another way, they are torchvision's.
VARIANTS = {
    "x_200mf": Variant((1, 1, 4, 7), (24, 56, 152, 368), 8),
    "x_400mf": Variant((1, 2, 7, 12), (32, 64, 160, 400), 16),
    "x_600mf": Variant((1, 3, 5, 7), (48, 96, 240, 528), 24),
    "x_800mf": Variant((1, 3, 7, 5), (64, 128, 288, 672), 16),
    "x_1_6gf": Variant((2, 4, 10, 2), (72, 168, 408, 912), 24),
    "x_3_2gf": Variant((2, 6, 15, 2), (96, 192, 432, 1008), 48),
    "x_4gf": Variant((2, 5, 14, 2), (80, 240, 560, 1360), 40),
    "x_6_4gf": Variant((2, 4, 10, 1), (168, 392, 784, 1624), 56),
    "x_8gf": Variant((2, 5, 15, 1), (80, 240, 720, 1920), 120),
    "x_12gf": Variant((2, 5, 11, 1), (224, 448, 896, 2240), 112),
    "x_16gf": Variant((2, 6, 13, 1), (256, 512, 896, 2048), 128),
    "x_32gf": Variant((2, 7, 13, 1), (336, 672, 1344, 2520), 168),
    "y_200mf": Variant((1, 1, 4, 7), (24, 56, 152, 368), 8, 0.25),
    "y_400mf": Variant((1, 3, 6, 6), (48, 104, 208, 440), 8, 0.25),
    "y_600mf": Variant((1, 3, 7, 4), (48, 112, 256, 608), 16, 0.25),
    "y_800mf": Variant((1, 3, 8, 2), (64, 144, 320, 784), 16, 0.25),
    "y_1_6gf": Variant((2, 6, 17, 2), (48, 120, 336, 888), 24, 0.25),
    "y_3_2gf": Variant((2, 5, 13, 1), (72, 216, 576, 1512), 24, 0.25),
    "y_4gf": Variant((2, 6, 12, 2), (128, 192, 512, 1088), 64, 0.25),
    "y_6_4gf": Variant((2, 7, 14, 2), (144, 288, 576, 1296), 72, 0.25),
    "y_8gf": Variant((2, 4, 10, 1), (224, 448, 896, 2016), 56, 0.25),
    "y_12gf": Variant((2, 5, 11, 1), (224, 448, 896, 2240), 112, 0.25),
    "y_16gf": Variant((2, 4, 11, 1), (224, 448, 1232, 3024), 112, 0.25),
    "y_32gf": Variant((2, 5, 12, 1), (232, 696, 1392, 3712), 232, 0.25),
    "y_64gf": Variant((2, 5, 12, 1), (328, 984, 1968, 4920), 328, 0.25),
    "y_128gf": Variant((2, 7, 17, 1), (528, 1056, 2904, 7392), 264, 0.25),
    "y_256gf": Variant((2, 7, 17, 1), (746, 1492, 4103, 10444), 373, 0.25),
}


def create(
    *,
    variant: str = "y_400mf",
    blocks: Sequence[int] | None = None,
    widths: Sequence[int] | None = None,
    width_per_group: int | None = None,
    squeeze: float | None = None,
    stem_channels: int = 32,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dtype: DTypeLike | None = None,
) -> RegNet:
    """Builds a RegNet; the defaults are torchvision's regnet_y_400mf.

    Args:
        variant: Kind and size, one of VARIANTS.
        blocks: Number of blocks of each stage; by default those of the variant.
        widths: Number of channels of each stage; by default those of the variant.
        width_per_group: Channels of each group of a 3x3 convolution, all of them in narrower stages.
        squeeze: Channels inside squeeze-and-excite for each input of the block; 0 leaves it out.
        stem_channels: Number of channels of the stem.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head or stage, widths for other stages, or that no number of groups gives.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    known = VARIANTS[variant]
    counts, channels = tuple(blocks or known.blocks), tuple(widths or known.widths)
    group = width_per_group or known.group
    if len(counts) != len(channels) or any(width % min(group, width) for width in channels):
        raise ZooError(
            f"widths={channels}: expected {len(counts)} multiples of width_per_group={group}, one for each "
            "stage."
        )
    ratio = known.squeeze if squeeze is None else squeeze
    stages, width = [], stem_channels
    for count, outputs in zip(counts, channels, strict=True):
        stage = []
        for index in range(count):
            sizes = Sizes(
                inputs=width,
                outputs=outputs,
                group=min(group, outputs),
                squeezed=round(ratio * width),
                stride=1 if index else 2,
            )
            stage.append(sizes)
            width = outputs
        stages.append(tuple(stage))
    return RegNet(
        stages=tuple(stages),
        stem_channels=stem_channels,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        out_indices=stage_indices(out_indices, out_features, len(counts)) if head == "maps" else (),
        dtype=dtype,
    )
