"""The blocks of a MaxViT, with torchvision's names."""

import math
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import attention
from zoo._nn.convolutions import SqueezeExcite, Units, conv, run, stochastic_depth
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.windows import Window, join, partition, position_bias

DEVIATION = 0.02  # of all kernels and tables at first
INIT = nn.initializers.normal(DEVIATION)


class Sizes(NamedTuple):
    """Sizes and options that all layers share."""

    partition_size: int
    head_dim: int
    expansion_ratio: float
    squeeze_ratio: float
    mlp_ratio: int
    dropout: float
    attention_dropout: float
    dtype: DTypeLike | None = None

    @property
    def units(self) -> Units:
        """Convolutions with norms; their numbers are those of the authors' code."""
        return Units(activation="gelu", epsilon=1e-3, momentum=0.01, deviation=DEVIATION, dtype=self.dtype)

    @property
    def conv(self) -> Any:
        """Builds a convolution with a bias: channels, size -> layer."""
        return partial(conv, bias=True, init=INIT, dtype=self.dtype)

    @property
    def dense(self) -> Any:
        """Builds a dense layer: channels -> layer."""
        return partial(nn.Dense, kernel_init=INIT, dtype=self.dtype)

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(1e-5, use_fast_variance=False, dtype=self.dtype)


def _halve(x: jax.Array) -> Any:
    """Averages 3x3 pixels, zeros beyond the edge among them, as torch.nn.AvgPool2d(3, 2, 1)."""
    return nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


class MBConv(nn.Module):
    """Inverted residual whose norm comes first: expands, convolves each channel, weighs them, and reduces."""

    sizes: Sizes
    inputs: int
    channels: int
    stride: int
    rate: float  # of stochastic depth

    def setup(self) -> None:
        sizes, units = self.sizes, self.sizes.units
        wide = int(self.channels * sizes.expansion_ratio)
        squeezed = int(self.channels * sizes.squeeze_ratio)
        fits = self.stride == 1 and self.inputs == self.channels
        shortcut = [_halve] if self.stride == 2 else []
        self.proj = [] if fits else [*shortcut, sizes.conv(self.channels, 1)]
        self.layers = {
            "pre_norm": units.norm(),
            "conv_a": units.unit(wide, 1),
            "conv_b": units.unit(wide, 3, self.stride, groups=wide),
            "squeeze_excitation": SqueezeExcite(
                wide, squeezed, activation="silu", deviation=DEVIATION, dtype=sizes.dtype
            ),
            "conv_c": sizes.conv(self.channels, 1),
        }
        self.stochastic_depth = stochastic_depth(self.rate)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, channels)."""
        inner = run([*self.layers.values(), self.stochastic_depth], x, train=train)
        added: jax.Array = run(self.proj, x, train=train) + inner
        return added


class Attention(nn.Module):
    """Self-attention among the pixels of a window, with a learned bias for each relative place."""

    sizes: Sizes
    width: int

    def setup(self) -> None:
        size, heads = self.sizes.partition_size, self.width // self.sizes.head_dim
        self.to_qkv = self.sizes.dense(3 * self.width)
        self.merge = self.sizes.dense(self.width)
        self.relative_position_bias_table = self.param(
            "relative_position_bias_table", INIT, ((2 * size - 1) ** 2, heads)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, windows, pixels, width) -> the same shape."""
        size = self.sizes.partition_size
        batch, windows, pixels, _ = x.shape
        qkv = self.to_qkv(x).reshape(batch * windows, pixels, 3, -1, self.sizes.head_dim)
        bias = position_bias(self.relative_position_bias_table, (size, size))
        # Of the whole width, not of a head: the published weights were trained so.
        scale = 1 / math.sqrt(self.width)
        out = attention(*jnp.moveaxis(qkv, 2, 0), scale=scale, bias=bias[None])
        merged: jax.Array = self.merge(out.reshape(x.shape))
        return merged


class PartitionAttention(nn.Module):
    """Attention and an MLP for `partition_size` x `partition_size` pixels at once.

    These are neighbors, or with `grid` as far from each other as the image allows: section 3.2.
    """

    sizes: Sizes
    width: int
    grid: bool
    rate: float  # of stochastic depth

    def setup(self) -> None:
        sizes = self.sizes
        self.attn_layer = [
            sizes.norm(),
            Attention(sizes, self.width),
            nn.Dropout(sizes.attention_dropout),
        ]
        self.mlp_layer = [
            sizes.norm(),
            sizes.dense(sizes.mlp_ratio * self.width),
            ACTIVATIONS["gelu"],
            sizes.dense(self.width),
            nn.Dropout(sizes.dropout),
        ]
        self.stochastic_dropout = stochastic_depth(self.rate)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> the same shape; the sides are multiples of the partition's."""
        sides, size = (x.shape[1], x.shape[2]), self.sizes.partition_size
        # Each of a grid's cells gives one pixel to every group.
        window: Window = (sides[0] // size, sides[1] // size) if self.grid else (size, size)
        x = partition(x, window)
        x = x.swapaxes(1, 2) if self.grid else x
        for layers in (self.attn_layer, self.mlp_layer):
            x = x + run([*layers, self.stochastic_dropout], x, train=train)
        x = x.swapaxes(1, 2) if self.grid else x
        return join(x, window, sides)


class Layer(nn.Module):
    """A convolutional block and both kinds of attention."""

    sizes: Sizes
    inputs: int
    channels: int
    stride: int
    rate: float  # of stochastic depth

    def setup(self) -> None:
        attend = partial(PartitionAttention, self.sizes, self.channels, rate=self.rate)
        self.layers = {
            "MBconv": MBConv(
                sizes=self.sizes,
                inputs=self.inputs,
                channels=self.channels,
                stride=self.stride,
                rate=self.rate,
            ),
            "window_attention": attend(grid=False),
            "grid_attention": attend(grid=True),
        }

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, channels)."""
        out: jax.Array = run(list(self.layers.values()), x, train=train)
        return out


class Block(nn.Module):
    """A stage: layers, the first of which halves height and width."""

    sizes: Sizes
    inputs: int
    channels: int
    rates: tuple[float, ...]

    def setup(self) -> None:
        self.layers = [
            Layer(
                sizes=self.sizes,
                inputs=self.channels if index else self.inputs,
                channels=self.channels,
                stride=1 if index else 2,
                rate=rate,
            )
            for index, rate in enumerate(self.rates)
        ]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / 2, width / 2, channels)."""
        out: jax.Array = run(self.layers, x, train=train)
        return out
