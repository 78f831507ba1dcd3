"""Residual networks for images of any size.

He et al., https://arxiv.org/abs/1512.03385; bottleneck blocks have their stride in the 3x3 convolution
("v1.5"), as torchvision's. Grouped: https://arxiv.org/abs/1611.05431. Wide: https://arxiv.org/abs/1605.07146.
Deep stems and averaged shortcuts ("d"): https://arxiv.org/abs/1812.01187, figure 2.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.layers import BatchNorm
from zoo._registry.entry import Input

_TRANSFORMERS = (
    *((rf"^layer{n}\.", f"encoder.stages.{n - 1}.layers.") for n in (1, 2, 3, 4)),
    *((rf"\.(conv|bn){n}\.", rf".layer.{n - 1}.\1.") for n in (1, 2, 3)),
    (r"^(conv|bn)1\.", r"embedder.embedder.\1."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.bn."),
    (r"\.conv\.", ".convolution."),
    (r"\.bn\.", ".normalization."),
)
TORCH_NAMES = {
    "torchvision": (),  # every layer has its torchvision name
    "timm": (),
    "cifar": ((r"^fc\.", "linear."), (r"\.downsample\.", ".shortcut.")),  # akamaster/pytorch_resnet_cifar10
    "transformers": (*_TRANSFORMERS, (r"^e", "resnet.e"), (r"^fc\.", "classifier.1.")),
    "transformers_model": _TRANSFORMERS,  # ResNetModel: no head, num_classes=0
}
HEAD, STEM = ("fc",), ("conv1", "conv1_0")
REPLACED_HEAD = {r"(fc|linear|classifier\.1)\..*": "the head"}

Layer: TypeAlias = Callable[..., Any]

_KAIMING = nn.initializers.variance_scaling(2, "fan_out", "normal")
Conv = partial(nn.Conv, use_bias=False, kernel_init=_KAIMING)


def conv(channels: int, size: int, stride: int = 1, groups: int = 1, *, dtype: DTypeLike | None) -> nn.Conv:
    """Builds a convolution, padded by half its size on both sides, as PyTorch pads."""
    sides, strides = (size, size), (stride, stride)
    return Conv(channels, sides, strides, size // 2, feature_group_count=groups, dtype=dtype)


def run(layers: Sequence[Layer], x: jax.Array, train: bool) -> jax.Array:
    """Applies layers and functions one after the other."""
    for layer in layers:
        x = layer(x, use_running_average=not train) if isinstance(layer, BatchNorm) else layer(x)
    return x


def halve(x: jax.Array) -> Any:
    """Averages 2x2 pixels, fewer where a side is odd, as torch.nn.AvgPool2d with `ceil_mode`."""
    odd = [(0, size % 2) for size in x.shape[1:3]]
    return nn.avg_pool(x, (2, 2), (2, 2), odd, count_include_pad=not any(after for _, after in odd))


def subsample(x: jax.Array, *, channels: int, stride: int) -> jax.Array:
    """Drops pixels by the stride and pads channels with zeros on both sides: "option A" of section 4.2."""
    x = x[:, ::stride, ::stride]
    before = (channels - x.shape[-1]) // 2
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, channels - x.shape[-1] - before)))


SHORTCUTS = ("conv", "pad", "pool")


def shortcut_layers(kind: str, channels: int, stride: int, dtype: DTypeLike | None) -> list[Layer]:
    """Builds the layers that fit a block's input to its output; none where kind is "none"."""
    if kind == "none":
        return []
    if kind == "pad":
        return [partial(subsample, channels=channels, stride=stride)]
    if kind == "conv":
        return [conv(channels, 1, stride, dtype=dtype), BatchNorm(dtype=dtype)]
    # A function comes first, so that the layers are downsample.1 and downsample.2, as timm's.
    return [halve if stride == 2 else jnp.asarray, conv(channels, 1, dtype=dtype), BatchNorm(dtype=dtype)]


def last_norm(zero: bool, dtype: DTypeLike | None) -> BatchNorm:
    """Builds a block's last norm; with zeros the block begins as its shortcut.

    Goyal et al., https://arxiv.org/abs/1706.02677, section 5.1.
    """
    return BatchNorm(dtype=dtype, scale_init=nn.initializers.zeros if zero else nn.initializers.ones)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    channels: int
    stride: int
    shortcut: str
    zero_init_last: bool
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.conv1 = conv(self.channels, 3, self.stride, dtype=self.dtype)
        self.bn1 = BatchNorm(dtype=self.dtype)
        self.conv2 = conv(self.channels, 3, dtype=self.dtype)
        self.bn2 = last_norm(self.zero_init_last, self.dtype)
        self.downsample = shortcut_layers(self.shortcut, self.channels, self.stride, self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        inner: list[Layer] = [self.conv1, self.bn1, nn.relu, self.conv2, self.bn2]
        return nn.relu(run(inner, x, train) + run(self.downsample, x, train))


class Bottleneck(nn.Module):
    """A 3x3 convolution, in groups or not, between two 1x1; the output has four times `channels`."""

    channels: int
    stride: int
    shortcut: str
    zero_init_last: bool
    dtype: DTypeLike | None
    groups: int
    width_per_group: int

    def setup(self) -> None:
        width = self.channels * self.width_per_group // 64 * self.groups
        self.conv1 = conv(width, 1, dtype=self.dtype)
        self.bn1 = BatchNorm(dtype=self.dtype)
        self.conv2 = conv(width, 3, self.stride, self.groups, dtype=self.dtype)
        self.bn2 = BatchNorm(dtype=self.dtype)
        self.conv3 = conv(4 * self.channels, 1, dtype=self.dtype)
        self.bn3 = last_norm(self.zero_init_last, self.dtype)
        self.downsample = shortcut_layers(self.shortcut, 4 * self.channels, self.stride, self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        inner: list[Layer] = [
            self.conv1,
            self.bn1,
            nn.relu,
            self.conv2,
            self.bn2,
            nn.relu,
            self.conv3,
            self.bn3,
        ]
        return nn.relu(run(inner, x, train) + run(self.downsample, x, train))


class Stem(NamedTuple):
    """The convolutions before the first stage; a stride of 2 adds a max pooling."""

    size: int
    stride: int
    eighths: tuple[int, ...]  # of the first stage's channels, for each convolution


STEMS = {
    "imagenet": Stem(7, 2, (8,)),
    "cifar": Stem(3, 1, (8,)),
    "deep": Stem(3, 2, (4, 4, 8)),
    "deep_tiered": Stem(3, 2, (3, 4, 8)),
}


def stem_layers(stem: Stem, channels: int, dtype: DTypeLike | None) -> list[Layer]:
    """Builds the stem's convolutions, with a norm and an activation between them."""
    first, *rest = (channels * part // 8 for part in stem.eighths)
    layers: list[Layer] = [conv(first, stem.size, stem.stride, dtype=dtype)]
    for width in rest:
        layers += [BatchNorm(dtype=dtype), nn.relu, conv(width, stem.size, dtype=dtype)]
    return layers


_EXPANSION = {"basic": 1, "bottleneck": 4}


class ResNet(nn.Module):
    """A stem, stages of blocks `layer1`, `layer2`, ... each with half the sides, and a dense layer."""

    block: str
    blocks: tuple[int, ...]
    channels: int
    num_classes: int
    in_channels: int
    stem: str
    shortcut: str
    groups: int
    width_per_group: int
    zero_init_last: bool
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        stem = stem_layers(STEMS[self.stem], self.channels, self.dtype)
        self.conv1 = stem if len(stem) > 1 else stem[0]
        self.bn1 = BatchNorm(dtype=self.dtype)
        inputs = self.channels
        for index, count in enumerate(self.blocks):
            channels = self.channels * 2**index
            stage = [self._block(channels, inputs, 2 if index else 1)]
            inputs = channels * _EXPANSION[self.block]
            stage += [self._block(channels, inputs, 1) for _ in range(count - 1)]
            setattr(self, f"layer{index + 1}", stage)
        self.fc = nn.Dense(self.num_classes, dtype=self.dtype)

    def _block(self, channels: int, inputs: int, stride: int) -> nn.Module:
        fits = stride == 1 and inputs == channels * _EXPANSION[self.block]
        common: dict[str, Any] = {
            "channels": channels,
            "stride": stride,
            "shortcut": "none" if fits else self.shortcut,
            "zero_init_last": self.zero_init_last,
            "dtype": self.dtype,
        }
        if self.block == "basic":
            return BasicBlock(**common)
        return Bottleneck(**common, groups=self.groups, width_per_group=self.width_per_group)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the averages of the last stage.
        """
        if x.shape[-1] != self.in_channels:
            raise ZooError(f"images of shape {x.shape}; expected {self.in_channels} channels, last.")
        stem = self.conv1 if isinstance(self.conv1, Sequence) else [self.conv1]
        x = run([*stem, self.bn1, nn.relu], x, train)
        if STEMS[self.stem].stride == 2:
            # padding=1 on both sides, as PyTorch pads; "SAME" would pad only one side here.
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for index in range(len(self.blocks)):
            for block in getattr(self, f"layer{index + 1}"):
                x = block(x, train=train)
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
    channels: int = 64,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    shortcut: str = "conv",
    groups: int = 1,
    width_per_group: int = 64,
    zero_init_last: bool = False,
    dtype: DTypeLike | None = None,
) -> ResNet:
    """Builds a ResNet; the defaults are torchvision's resnet50.

    Args:
        depth: Number of layers with weights, one of DEPTHS.
        channels: Number of channels in the first stage; each further stage has twice as many.
        num_classes: Number of logits; 0 leaves the last layer out.
        in_channels: Number of channels of the images.
        stem: First convolutions, one of STEMS; "cifar", for small images, keeps their size.
        shortcut: Shortcut where shapes differ, one of SHORTCUTS: "conv" (1x1), "pad" (without parameters) or
            "pool" (averages, then 1x1).
        groups: Number of groups in the bottlenecks' 3x3 convolutions.
        width_per_group: Channels of each group in a stage of 64 channels.
        zero_init_last: Whether to initialize the last scale of a block with zeros: it begins as its shortcut.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such depth, stem or shortcut, or groups in basic blocks.
    """
    for name, value, choices in (
        ("depth", depth, DEPTHS),
        ("stem", stem, STEMS),
        ("shortcut", shortcut, SHORTCUTS),
    ):
        if value not in choices:
            raise ZooError(f"no {name} {value!r}; choose one of {', '.join(map(str, choices))}.")
    block, blocks = DEPTHS[depth]
    if block == "basic" and (groups, width_per_group) != (1, 64):
        raise ZooError(
            f"groups={groups}, width_per_group={width_per_group}: depth {depth} has blocks without groups."
        )
    return ResNet(
        block=block,
        blocks=blocks,
        channels=channels,
        num_classes=num_classes,
        in_channels=in_channels,
        stem=stem,
        shortcut=shortcut,
        groups=groups,
        width_per_group=width_per_group,
        zero_init_last=zero_init_last,
        dtype=dtype,
    )


def inputs(module: ResNet, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs with the module's number of channels."""
    return tuple(replace(each, shape=(*each.shape[:-1], module.in_channels)) for each in examples)
