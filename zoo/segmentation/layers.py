"""Decoders: from a backbone's maps to logits of each place, with torchvision's names."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.convolutions import conv, run, torch_kernel
from zoo._nn.layers import BatchNorm, bilinear

WIDTH = 256  # channels inside DeepLab's decoder
LITE_WIDTH = 128  # and inside LR-ASPP's
RATES = (12, 24, 36)  # steps between the pixels that its kernels see, for maps of an eighth


def unit(channels: int, size: int, *, dilation: int = 1, dtype: DTypeLike | None) -> list[Any]:
    """Builds a convolution, its norm and the activation."""
    layer = conv(channels, size, dilation=dilation, init=torch_kernel, dtype=dtype)
    return [layer, BatchNorm(dtype=dtype), nn.relu]


def logits_layer(num_classes: int, *, dtype: DTypeLike | None) -> nn.Conv:
    """Builds the last layer."""
    return conv(num_classes, 1, bias=True, init=torch_kernel, dtype=dtype)


def fcn_head(inputs: int, num_classes: int, *, dropout: float, dtype: DTypeLike | None) -> list[Any]:
    """Builds two convolutions; section 4 of Long et al., https://arxiv.org/abs/1411.4038, has one."""
    return [*unit(inputs // 4, 3, dtype=dtype), nn.Dropout(dropout), logits_layer(num_classes, dtype=dtype)]


def deeplab_head(num_classes: int, *, dropout: float, dtype: DTypeLike | None) -> list[Any]:
    """Builds the spatial pyramid and two convolutions."""
    return [
        SpatialPyramid(dropout, dtype),
        *unit(WIDTH, 3, dtype=dtype),
        logits_layer(num_classes, dtype=dtype),
    ]


class LiteDecoder(nn.Module):
    """Logits of two maps, the smaller one weighed by its average: LR-ASPP.

    Howard et al., https://arxiv.org/abs/1905.02244, section 6.4.
    """

    num_classes: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        dtype = self.dtype
        self.cbr = unit(LITE_WIDTH, 1, dtype=dtype)
        average = partial(jnp.mean, axis=(1, 2), keepdims=True)
        self.scale = [average, conv(LITE_WIDTH, 1, init=torch_kernel, dtype=dtype), nn.sigmoid]
        self.low_classifier = logits_layer(self.num_classes, dtype=dtype)
        self.high_classifier = logits_layer(self.num_classes, dtype=dtype)

    def __call__(self, low: jax.Array, high: jax.Array, *, train: bool = False) -> jax.Array:
        """Two (batch, rows, columns, any) maps -> (batch, *sides of `low`, num_classes)."""
        x = run(self.cbr, high, train=train) * run(self.scale, high, train=train)
        x = bilinear(x, (low.shape[1], low.shape[2]))
        logits: jax.Array = self.low_classifier(low) + self.high_classifier(x)
        return logits


class SpatialPyramid(nn.Module):
    """Convolutions of several dilations beside each other, and the average of the whole map.

    Chen et al., https://arxiv.org/abs/1706.05587, section 3.3.
    """

    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        build = partial(unit, WIDTH, dtype=self.dtype)
        dilated = [build(3, dilation=rate) for rate in RATES]
        self.convs = [build(1), *dilated, [partial(jnp.mean, axis=(1, 2), keepdims=True), *build(1)]]
        self.project = [*build(1), nn.Dropout(self.dropout)]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, height, width, WIDTH)."""
        parts = [run(layers, x, train=train) for layers in self.convs]
        parts[-1] = jnp.broadcast_to(parts[-1], parts[0].shape)
        out: jax.Array = run(self.project, jnp.concatenate(parts, axis=-1), train=train)
        return out
