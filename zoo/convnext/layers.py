"""The blocks of a ConvNeXt, with torchvision's names."""

from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from converters.layers import Leaf, Row
from zoo._nn.convolutions import conv, divisible, run, stochastic_depth
from zoo._nn.layers import ACTIVATIONS

_INIT = nn.initializers.truncated_normal(0.02)


class Settings(NamedTuple):
    """Options that all blocks share."""

    layer_scale: float
    response_norm: bool
    activation: str
    epsilon: float
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a norm over channels."""
        return nn.LayerNorm(self.epsilon, use_fast_variance=False, dtype=self.dtype)

    def dense(self, width: int) -> nn.Dense:
        """Builds a dense layer."""
        return nn.Dense(width, kernel_init=_INIT, dtype=self.dtype)

    def conv(self, channels: int, size: int) -> nn.Conv:
        """Builds a convolution of patches that do not overlap."""
        sides = (size, size)
        return nn.Conv(channels, sides, sides, "VALID", kernel_init=_INIT, dtype=self.dtype)

    def stem(self, kind: str, channels: int) -> list[Any]:
        """Builds what a quarter of the sides is left of, one of STEMS."""
        if kind == "patch":
            return [self.conv(channels, 4), self.norm()]
        first = divisible(channels // 2) if kind == "overlap_tiered" else channels
        convs = [conv(each, 3, 2, bias=True, init=_INIT, dtype=self.dtype) for each in (first, channels)]
        return [*convs, self.norm()]


STEMS = ("patch", "overlap", "overlap_tiered")


class ResponseNorm(nn.Module):
    """Factors for the channels of an image, by how strong each is among all of them.

    Global response normalization: https://arxiv.org/abs/2301.00808, section 3.3.
    """

    channels: int

    torch_row: ClassVar[Row] = {"scale": Leaf("weight"), "bias": Leaf("bias")}

    def setup(self) -> None:
        self.scale = self.param("scale", nn.initializers.zeros, (self.channels,))
        self.bias = self.param("bias", nn.initializers.zeros, (self.channels,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # sums of squares are beyond float16
        squares = jnp.square(wide).sum((1, 2), keepdims=True)
        some = squares > 0  # PyTorch's norm has the gradient 0 at 0
        strength = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)
        relative = (strength / (strength.mean(-1, keepdims=True) + 1e-6)).astype(x.dtype)
        return x + self.scale.astype(x.dtype) * (x * relative) + self.bias.astype(x.dtype)


class Block(nn.Module):
    """A depthwise convolution, then two dense layers, with a residual connection."""

    channels: int
    drop_rate: float
    settings: Settings

    def setup(self) -> None:
        channels, settings = self.channels, self.settings
        self.block: list[Any] = [
            conv(channels, 7, groups=channels, bias=True, init=_INIT, dtype=settings.dtype),
            jnp.asarray,  # torchvision moves the channels to the end
            settings.norm(),
            settings.dense(4 * channels),
            ACTIVATIONS[settings.activation],
            settings.dense(channels),
        ]
        if settings.response_norm:
            self.grn = ResponseNorm(4 * channels)
        if settings.layer_scale:
            self.layer_scale = self.param(
                "layer_scale", nn.initializers.constant(settings.layer_scale), (channels,)
            )
        self.stochastic_depth = stochastic_depth(self.drop_rate)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        norm = [self.grn] if self.settings.response_norm else []
        out: jax.Array = run([*self.block[:5], norm, self.block[5]], x, train=train)
        if self.settings.layer_scale:
            out = self.layer_scale.astype(out.dtype) * out
        dropped: jax.Array = run(self.stochastic_depth, out, train=train)
        return x + dropped
