"""The blocks of a residual network, with torchvision's names."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.convolutions import SqueezeExcite, conv, divisible, run
from zoo._nn.layers import BatchNorm
from zoo._nn.pooling import max_pool, shrunk

Layer: TypeAlias = Callable[..., Any]


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


class EfficientChannelAttention(nn.Module):
    """Factors for the channels of an image, each made of the averages of its neighbors.

    Wang et al., https://arxiv.org/abs/1910.03151, section 3.2; the kernel's size is equation 12.
    """

    channels: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        near = int((math.log2(self.channels) + 1) / 2)
        size = max(near + 1 - near % 2, 3)
        self.conv = nn.Conv(1, (size,), padding=size // 2, use_bias=False, dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        factors = nn.sigmoid(self.conv(x.mean((1, 2))[..., None]))
        return x * factors.reshape(x.shape[0], 1, 1, -1)


ATTENTION = ("none", "squeeze", "eca")


class Extras(NamedTuple):
    """Extras of all blocks.

    Attributes:
        attention: Factors for the channels, one of ATTENTION.
        squeeze: Part of the channels that squeeze-and-excite has inside.
        shrinking: What halves height and width, one of zoo._nn.pooling.SHRINKING.
    """

    attention: str = "none"
    squeeze: float = 1 / 16
    shrinking: str = ""

    def layer(self, channels: int, dtype: DTypeLike | None) -> nn.Module | list[Layer]:
        """Builds the layer that gives this many channels their factors; an empty list where there is none."""
        if self.attention == "squeeze":
            squeezed = divisible(channels * self.squeeze, least=0.0)
            return SqueezeExcite(channels, squeezed, dtype=dtype)
        return EfficientChannelAttention(channels, dtype) if self.attention == "eca" else []

    def stride(self, stride: int) -> int:
        """Returns the stride that is left to a convolution."""
        return 1 if self.shrinking else stride

    def shrink(self, stride: int) -> list[Layer]:
        """Returns what stands for the stride of the convolution before it, if anything does."""
        return [partial(shrunk, way=self.shrinking)] if stride == 2 and self.shrinking else []


class BasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    channels: int
    stride: int
    shortcut: str
    zero_init_last: bool
    extras: Extras
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.conv1 = conv(self.channels, 3, self.extras.stride(self.stride), dtype=self.dtype)
        self.bn1 = BatchNorm(dtype=self.dtype)
        self.conv2 = conv(self.channels, 3, dtype=self.dtype)
        self.bn2 = last_norm(self.zero_init_last, self.dtype)
        self.se = self.extras.layer(self.channels, self.dtype)
        self.downsample = shortcut_layers(self.shortcut, self.channels, self.stride, self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        inner: list[Any] = [
            *(self.conv1, self.bn1, nn.relu, *self.extras.shrink(self.stride)),
            *(self.conv2, self.bn2, self.se),
        ]
        return nn.relu(run(inner, x, train=train) + run(self.downsample, x, train=train))


class Bottleneck(nn.Module):
    """A 3x3 convolution, in groups or not, between two 1x1; the output has four times `channels`."""

    channels: int
    stride: int
    shortcut: str
    zero_init_last: bool
    extras: Extras
    dtype: DTypeLike | None
    groups: int
    width_per_group: int
    stride_first_conv: bool
    dilation: int

    def setup(self) -> None:
        width = self.channels * self.width_per_group // 64 * self.groups
        strides = (self.stride, 1) if self.stride_first_conv else (1, self.stride)
        self.conv1 = conv(width, 1, strides[0], dtype=self.dtype)
        self.bn1 = BatchNorm(dtype=self.dtype)
        stride = self.extras.stride(strides[1])
        self.conv2 = conv(width, 3, stride, groups=self.groups, dilation=self.dilation, dtype=self.dtype)
        self.bn2 = BatchNorm(dtype=self.dtype)
        self.conv3 = conv(4 * self.channels, 1, dtype=self.dtype)
        self.bn3 = last_norm(self.zero_init_last, self.dtype)
        self.se = self.extras.layer(4 * self.channels, self.dtype)
        self.downsample = shortcut_layers(self.shortcut, 4 * self.channels, self.stride, self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        inner: list[Any] = [
            *(self.conv1, self.bn1, nn.relu),
            *(self.conv2, self.bn2, nn.relu, *self.extras.shrink(self.stride)),
            *(self.conv3, self.bn3, self.se),
        ]
        return nn.relu(run(inner, x, train=train) + run(self.downsample, x, train=train))


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


STEM_POOLS = ("max", "conv")


def pool_layers(kind: str, channels: int, shrinking: str, dtype: DTypeLike | None) -> list[Layer]:
    """Builds what halves height and width after the stem's convolutions.

    Args:
        kind: One of STEM_POOLS; "conv" is a convolution: Bello et al., https://arxiv.org/abs/2103.07579.
        channels: Number of channels.
        shrinking: As for Extras; an average takes the place of the largest numbers.
        dtype: Dtype to compute in.
    """
    if kind == "conv":
        return [conv(channels, 3, 2, dtype=dtype), BatchNorm(dtype=dtype), nn.relu]
    if shrinking == "average":
        return [partial(shrunk, way=shrinking)]
    largest = partial(max_pool, size=3, stride=1 if shrinking else 2, padding=1)
    return [largest, partial(shrunk, way=shrinking)]
