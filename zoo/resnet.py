"""Residual networks for images of any size.

He et al., https://arxiv.org/abs/1512.03385; bottleneck blocks have their stride in the 3x3 convolution
("v1.5"), as torchvision's. Grouped: https://arxiv.org/abs/1611.05431. Wide: https://arxiv.org/abs/1605.07146.
Deep stems and averaged shortcuts ("d"): https://arxiv.org/abs/1812.01187, figure 2.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._layers import BatchNorm

_TRANSFORMERS = (
    (r"^(conv1|bn1)\.", r"embedder.embedder.\1."),
    *((rf"^layer{n}\.", f"encoder.stages.{n - 1}.layers.") for n in (1, 2, 3, 4)),
    *((rf"\.(conv|bn){n}\.", rf".layer.{n - 1}.\1.") for n in (1, 2, 3)),
    (r"\.embedder\.layer\.0\.", ".embedder."),  # the stem's conv1 and bn1 are no block's
    (r"\.downsample\.0\.", ".shortcut.convolution."),
    (r"\.downsample\.1\.", ".shortcut.normalization."),
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

Layer: TypeAlias = Callable[..., jax.Array]

Conv = partial(
    nn.Conv, use_bias=False, kernel_init=nn.initializers.variance_scaling(2, "fan_out", "normal")
)
Conv1x1 = partial(Conv, kernel_size=(1, 1), padding=0)
Conv3x3 = partial(Conv, kernel_size=(3, 3), padding=1)


def run(layers: Sequence[Layer], x: jax.Array, train: bool) -> jax.Array:
    """Applies layers and functions one after the other."""
    for layer in layers:
        x = layer(x, use_running_average=not train) if isinstance(layer, BatchNorm) else layer(x)
    return x


def halve(x: jax.Array) -> jax.Array:
    """Averages 2x2 pixels; along odd sides the last ones are fewer (AvgPool2d with ceil_mode)."""
    odd = [(0, size % 2) for size in x.shape[1:3]]
    return nn.avg_pool(x, (2, 2), (2, 2), odd, count_include_pad=odd == [(0, 0), (0, 0)])


def subsample(x: jax.Array, *, channels: int, stride: int) -> jax.Array:
    """Leaves out pixels, and adds channels of zeros on both sides: "option A" of section 4.2."""
    x = x[:, ::stride, ::stride]
    before = (channels - x.shape[-1]) // 2
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, channels - x.shape[-1] - before)))


def shortcut_layers(kind: str, channels: int, stride: int, dtype: DTypeLike | None) -> list[Layer]:
    """What makes a block's input fit its output: one of SHORTCUTS, or "none"."""
    if kind == "none":
        return []
    if kind == "pad":
        return [partial(subsample, channels=channels, stride=stride)]
    norm = BatchNorm(dtype=dtype)
    if kind == "conv":
        return [Conv1x1(channels, strides=(stride, stride), dtype=dtype), norm]
    # The list begins with a function, and the names with 1, as timm's.
    return [halve if stride == 2 else lambda x: x, Conv1x1(channels, dtype=dtype), norm]


SHORTCUTS = ("conv", "pad", "pool")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    channels: int
    stride: int
    shortcut: str
    zero_init_last: bool
    dtype: DTypeLike | None

    def setup(self) -> None:
        conv, norm = partial(Conv3x3, self.channels, dtype=self.dtype), partial(BatchNorm, dtype=self.dtype)
        self.conv1 = conv(strides=(self.stride, self.stride))
        self.bn1 = norm()
        self.conv2 = conv()
        self.bn2 = norm(scale_init=last_scale(self.zero_init_last))
        self.downsample = shortcut_layers(self.shortcut, self.channels, self.stride, self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        y = run([self.conv1, self.bn1, nn.relu, self.conv2, self.bn2], x, train)
        return nn.relu(y + run(self.downsample, x, train))


class Bottleneck(nn.Module):
    """A 3x3 convolution, grouped or not, between two 1x1; the output has four times `channels`."""

    channels: int
    stride: int
    shortcut: str
    zero_init_last: bool
    dtype: DTypeLike | None
    groups: int
    width_per_group: int

    def setup(self) -> None:
        norm = partial(BatchNorm, dtype=self.dtype)
        width = self.channels * self.width_per_group // 64 * self.groups
        strides = (self.stride, self.stride)
        self.conv1 = Conv1x1(width, dtype=self.dtype)
        self.bn1 = norm()
        self.conv2 = Conv3x3(width, strides=strides, feature_group_count=self.groups, dtype=self.dtype)
        self.bn2 = norm()
        self.conv3 = Conv1x1(4 * self.channels, dtype=self.dtype)
        self.bn3 = norm(scale_init=last_scale(self.zero_init_last))
        self.downsample = shortcut_layers(self.shortcut, 4 * self.channels, self.stride, self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        inner = [self.conv1, self.bn1, nn.relu, self.conv2, self.bn2, nn.relu, self.conv3, self.bn3]
        return nn.relu(run(inner, x, train) + run(self.downsample, x, train))


def last_scale(zero: bool) -> nn.initializers.Initializer:
    """Of a block's last norm; with zeros each block begins as its shortcut (https://arxiv.org/abs/1706.02677)."""
    return nn.initializers.zeros if zero else nn.initializers.ones


class Stem(NamedTuple):
    """The convolutions before the first stage; a stride of 2 brings a maximum pooling with it."""

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
    """Convolutions, with a norm and an activation between them."""
    layers: list[Layer] = []
    for index, part in enumerate(stem.eighths):
        stride = 1 if index else stem.stride
        size, strides = (stem.size, stem.size), (stride, stride)
        conv = Conv(
            channels * part // 8, kernel_size=size, strides=strides, padding=stem.size // 2, dtype=dtype
        )
        layers += [BatchNorm(dtype=dtype), nn.relu, conv] if index else [conv]
    return layers


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
        channels = self.channels
        for index, count in enumerate(self.blocks):
            stage = []
            for first in (True, *[False] * (count - 1)):
                stride = 2 if first and index else 1
                stage.append(self._block(self.channels * 2**index, stride, channels))
                channels = self.channels * 2**index * EXPANSION[self.block]
            setattr(self, f"layer{index + 1}", stage)
        self.fc = nn.Dense(self.num_classes, dtype=self.dtype)

    def _block(self, channels: int, stride: int, inputs: int) -> nn.Module:
        changes = stride > 1 or inputs != channels * EXPANSION[self.block]
        shortcut = self.shortcut if changes else "none"
        if self.block == "basic":
            return BasicBlock(channels, stride, shortcut, self.zero_init_last, self.dtype)
        return Bottleneck(
            channels, stride, shortcut, self.zero_init_last, self.dtype, self.groups, self.width_per_group
        )

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Without classes: (batch, channels) features, the averages of the last stage.
        """
        if x.shape[-1] != self.in_channels:
            raise ZooError(f"the images {x.shape} have {x.shape[-1]} channels, expected {self.in_channels}.")
        stem = [self.conv1] if isinstance(self.conv1, nn.Module) else self.conv1
        x = run([*stem, self.bn1, nn.relu], x, train)
        if STEMS[self.stem].stride == 2:
            # padding=1 on both sides, as PyTorch pads; "SAME" would pad only one side here.
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for index in range(len(self.blocks)):
            for block in getattr(self, f"layer{index + 1}"):
                x = block(x, train=train)
        x = x.mean((1, 2))
        return self.fc(x) if self.num_classes else x


EXPANSION = {"basic": 1, "bottleneck": 4}

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
    **{6 * n + 2: ("basic", (n, n, n)) for n in (3, 5, 7, 9, 18, 200)},  # CIFAR's: 20, 32, ... 1202
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
        depth: One of DEPTHS.
        channels: Of the first stage; each further one has twice as many.
        num_classes: 0 leaves the last layer out.
        in_channels: Of the images.
        stem: One of STEMS; "cifar", for small images, keeps their size.
        shortcut: "conv" (1x1), "pad" (without parameters) or "pool" (averages, then 1x1).
        groups: Of the bottlenecks' 3x3 convolutions.
        width_per_group: Channels of each of those groups, where `channels` is 64.
        zero_init_last: Whether each block begins as its shortcut.
        dtype: To compute in.

    Raises:
        ZooError: a depth, stem or shortcut that there is not, or groups in basic blocks.
    """
    _check("depth", depth, DEPTHS)
    _check("stem", stem, STEMS)
    _check("shortcut", shortcut, SHORTCUTS)
    block, blocks = DEPTHS[depth]
    if block == "basic" and (groups, width_per_group) != (1, 64):
        raise ZooError(
            f"depth {depth} has basic blocks, which take no groups={groups} or width_per_group={width_per_group}."
        )
    return ResNet(
        block,
        blocks,
        channels,
        num_classes,
        in_channels,
        stem,
        shortcut,
        groups,
        width_per_group,
        zero_init_last,
        dtype,
    )


def _check(keyword: str, value: str | int, choices: Iterable[str | int]) -> None:
    if value not in choices:
        raise ZooError(f"no {keyword} {value!r}; choose one of {', '.join(map(str, sorted(choices)))}.")  # type: ignore
