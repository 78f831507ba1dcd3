"""Parts of the autoencoder: residual blocks, attention over pixels, stages that halve or double the sides."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.attention import attention
from zoo._nn.convolutions import conv, torch_kernel
from zoo._nn.layers import ACTIVATIONS, doubled


class Style(NamedTuple):
    """Choices that all blocks share.

    Attributes:
        groups: Number of groups of channels that are normalized together.
        activation: Name of the activation, one of ACTIVATIONS.
        dtype: Dtype to compute in.
    """

    groups: int
    activation: str
    dtype: DTypeLike | None

    def conv(self, channels: int, size: int = 3) -> nn.Conv:
        """Builds a convolution that keeps the sides."""
        return conv(channels, size, bias=True, init=torch_kernel, dtype=self.dtype)

    def norm(self) -> nn.GroupNorm:
        """Builds a group norm."""
        return nn.GroupNorm(self.groups, epsilon=1e-6, use_fast_variance=False, dtype=self.dtype)

    def act(self, x: jax.Array) -> jax.Array:
        """Applies the activation."""
        return ACTIVATIONS[self.activation](x)


class ResnetBlock(nn.Module):
    """Two convolutions, each after a norm and an activation, beside a shortcut."""

    channels: int
    style: Style

    def setup(self) -> None:
        self.norm1, self.norm2 = self.style.norm(), self.style.norm()
        self.conv1, self.conv2 = self.style.conv(self.channels), self.style.conv(self.channels)
        self.conv_shortcut = self.style.conv(self.channels, 1)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, any) -> (batch, height, width, channels)."""
        y = self.conv1(self.style.act(self.norm1(x)))
        y = self.conv2(self.style.act(self.norm2(y)))
        return (x if x.shape[-1] == self.channels else self.conv_shortcut(x)) + y


class Attention(nn.Module):
    """Attention of each pixel to all of its image, with one head, beside a shortcut."""

    channels: int
    style: Style

    def setup(self) -> None:
        self.group_norm = self.style.norm()
        for name in ("to_q", "to_k", "to_v"):
            setattr(self, name, nn.Dense(self.channels, dtype=self.style.dtype))
        self.to_out = [nn.Dense(self.channels, dtype=self.style.dtype)]

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        y = self.group_norm(x).reshape(x.shape[0], -1, 1, self.channels)  # one head
        seen = attention(self.to_q(y), self.to_k(y), self.to_v(y))
        return x + self.to_out[0](seen).reshape(x.shape)


class MidBlock(nn.Module):
    """Two residual blocks, with attention between them unless there is none."""

    channels: int
    attends: bool
    style: Style

    def setup(self) -> None:
        self.resnets = [ResnetBlock(self.channels, self.style) for _ in range(2)]
        self.attentions = [Attention(self.channels, self.style)] if self.attends else []

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        first, last = self.resnets
        x = first(x)
        for layer in self.attentions:
            x = layer(x)
        out: jax.Array = last(x)
        return out


class Halving(nn.Module):
    """A convolution with a stride of 2, of images padded by a pixel on the right and below."""

    channels: int
    style: Style

    def setup(self) -> None:
        self.conv = nn.Conv(
            self.channels,
            (3, 3),
            (2, 2),
            [(0, 1), (0, 1)],
            kernel_init=torch_kernel,
            dtype=self.style.dtype,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> (batch, height // 2, width // 2, channels)."""
        out: jax.Array = self.conv(x)
        return out


class Doubling(nn.Module):
    """Each pixel four times, and a convolution."""

    channels: int
    style: Style

    def setup(self) -> None:
        self.conv = self.style.conv(self.channels)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> (batch, 2 * height, 2 * width, channels)."""
        out: jax.Array = self.conv(doubled(x))
        return out


class Stage(nn.Module):
    """Residual blocks, and a layer that halves or doubles the sides, unless it is the last stage.

    Attributes:
        channels: Number of channels of its output.
        depth: Number of residual blocks.
        change: "downsamplers", "upsamplers" or nothing: the layer's name in PyTorch.
        style: Choices of all blocks.
    """

    channels: int
    depth: int
    change: str
    style: Style

    def setup(self) -> None:
        self.resnets = [ResnetBlock(self.channels, self.style) for _ in range(self.depth)]
        kinds = {"downsamplers": Halving, "upsamplers": Doubling}
        if self.change:
            setattr(self, self.change, [kinds[self.change](self.channels, self.style)])

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, any) -> (batch, rows, columns, channels)."""
        layers: list[Any] = [*self.resnets, *(getattr(self, self.change) if self.change else ())]
        for layer in layers:
            x = layer(x)
        return x
