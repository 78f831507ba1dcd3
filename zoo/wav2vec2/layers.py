"""The layers of wav2vec 2.0; the attributes have the names of the Hub's files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike

from converters.layers import KERNEL, Leaf, Row, Shape
from zoo._nn.attention import attention, key_mask, weights_dropout
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS

NORMS = ("group", "layer")


class Settings(NamedTuple):
    """Sizes and options that all layers of the encoder share.

    Attributes:
        width: Size of the hidden states.
        heads: Number of attention heads.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        norm_first: If true, a norm is of a part's input, and one more follows the layers.
        dropout: Rate before each residual connection.
        attention_dropout: Rate of the attention weights.
        activation_dropout: Rate after the activation.
        dtype: Dtype to compute in.
    """

    width: int
    heads: int
    feed_forward: int
    activation: str
    epsilon: float
    norm_first: bool
    dropout: float
    attention_dropout: float
    activation_dropout: float
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(self.epsilon, self.dtype, use_fast_variance=False)

    def dense(self, features: int) -> nn.Dense:
        """Builds a dense layer."""
        return nn.Dense(features, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02))


class Convolutions(NamedTuple):
    """Convolutions that make frames of samples, without padding.

    Attributes:
        channels: Number of outputs of each.
        kernels: Number of inputs that each sees.
        strides: Step between its places.
        bias: If true, they have a bias.
        norm: "group" for one norm, over time after the first convolution; "layer" for one after each.
        activation: Name of the activation after each.
    """

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    bias: bool
    norm: str
    activation: str

    def frames(self, samples: jax.Array | int) -> jax.Array | int:
        """Returns the number of frames of so many samples."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


class ConvLayer(nn.Module):
    """Convolution, a norm where it has one, and the activation."""

    convolutions: Convolutions
    index: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        of, index = self.convolutions, self.index
        self.conv = nn.Conv(
            of.channels[index],
            (of.kernels[index],),
            strides=of.strides[index],
            padding="VALID",
            use_bias=of.bias,
            dtype=self.dtype,
            kernel_init=nn.initializers.he_normal(),
        )
        self.layer_norm: nn.Module | None = None
        if of.norm == "layer":
            self.layer_norm = nn.LayerNorm(1e-5, self.dtype, use_fast_variance=False)
        elif index == 0:
            # A group for each channel: over all frames of a sound, padding included.
            self.layer_norm = nn.GroupNorm(
                of.channels[0], epsilon=1e-5, dtype=self.dtype, use_fast_variance=False
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, channels) -> a shorter one."""
        x = self.conv(x)
        x = x if self.layer_norm is None else self.layer_norm(x)
        return ACTIVATIONS[self.convolutions.activation](x)


class FeatureExtractor(nn.Module):
    """The convolutions over samples."""

    convolutions: Convolutions
    dtype: DTypeLike | None

    def setup(self) -> None:
        count = len(self.convolutions.channels)
        self.conv_layers = [ConvLayer(self.convolutions, index, self.dtype) for index in range(count)]

    def __call__(self, samples: jax.Array) -> jax.Array:
        """(batch, samples) -> (batch, frames, channels)."""
        x = samples[..., None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class FeatureProjection(nn.Module):
    """Norm and dense layer from the convolutions' channels to the width."""

    settings: Settings
    rate: float

    def setup(self) -> None:
        self.layer_norm = self.settings.norm()
        self.projection = self.settings.dense(self.settings.width)
        self.dropout = nn.Dropout(self.rate)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        out: jax.Array = self.dropout(self.projection(self.layer_norm(x)), deterministic=not train)
        return out


def _rows(layer: nn.Module, shapes: Mapping[str, Shape]) -> list[Row]:
    """Returns how files keep a kernel's norm and direction: as PyTorch writes them, and as it did once."""
    gain = Leaf("", lambda norm: norm.reshape(-1), lambda scale: scale.reshape(1, 1, -1))
    new = "parametrizations.weight.original"
    return [
        {
            "kernel": replace(KERNEL, tensors=direction),
            "scale": replace(gain, tensors=norm),
            "bias": Leaf("bias"),
        }
        for norm, direction in ((f"{new}0", f"{new}1"), ("weight_g", "weight_v"))
    ]


class NormedConv(nn.Module):
    """Convolution whose kernel has a norm of its own for each of its places.

    Salimans and Kingma, https://arxiv.org/abs/1602.07868. Flax's WeightNorm has a slash in an array's name.
    """

    width: int
    kernel_size: int
    groups: int
    dtype: DTypeLike | None

    torch_row: ClassVar[Any] = staticmethod(_rows)

    def setup(self) -> None:
        shape = (self.kernel_size, self.width // self.groups, self.width)
        self.kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        self.scale = self.param("scale", lambda _: _norms(self.kernel))
        self.bias = self.param("bias", nn.initializers.zeros, (self.width,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) -> one longer where the kernel is even."""
        kernel = self.kernel * (self.scale / _norms(self.kernel))[:, None, None]
        x, kernel, bias = promote_dtype(x, kernel, self.bias, dtype=self.dtype)
        out = jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(1,),
            padding=[(self.kernel_size // 2,) * 2],
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=self.groups,
        )
        biased: jax.Array = out + bias
        return biased


def _norms(kernel: jax.Array) -> jax.Array:
    """(length, inputs, outputs) -> (length,)."""
    return jnp.sqrt(jnp.square(kernel).sum((1, 2)))


class PositionalConvolution(nn.Module):
    """Convolution over frames, whose kernel has a learned length for each of its places."""

    settings: Settings
    kernel: int
    groups: int
    activation: str

    def setup(self) -> None:
        self.conv = NormedConv(
            width=self.settings.width,
            kernel_size=self.kernel,
            groups=self.groups,
            dtype=self.settings.dtype,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, frames, width) -> the same shape."""
        # An even kernel has one frame too many.
        return ACTIVATIONS[self.activation](self.conv(x)[:, : x.shape[1]])


class Attention(nn.Module):
    """Self-attention over the frames that the mask keeps."""

    settings: Settings

    def setup(self) -> None:
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (
            self.settings.dense(self.settings.width) for _ in range(4)
        )
        self.dropout = nn.Dropout(self.settings.attention_dropout)

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        split = (*x.shape[:2], self.settings.heads, -1)
        query, key, value = (layer(x).reshape(split) for layer in (self.q_proj, self.k_proj, self.v_proj))
        out = attention(query, key, value, mask=mask, dropout=weights_dropout(self.dropout, train=train))
        projected: jax.Array = self.out_proj(out.reshape(x.shape))
        return projected


class FeedForward(nn.Module):
    """Two dense layers."""

    settings: Settings

    def setup(self) -> None:
        self.intermediate_dense = self.settings.dense(self.settings.feed_forward)
        self.output_dense = self.settings.dense(self.settings.width)
        self.intermediate_dropout = nn.Dropout(self.settings.activation_dropout)
        self.output_dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = ACTIVATIONS[self.settings.activation](self.intermediate_dense(x))
        x = self.output_dense(self.intermediate_dropout(x, deterministic=not train))
        out: jax.Array = self.output_dropout(x, deterministic=not train)
        return out


class EncoderLayer(nn.Module):
    """Attention and two dense layers, each with a residual connection and a norm, first or last."""

    settings: Settings

    def setup(self) -> None:
        self.attention = Attention(self.settings)
        self.feed_forward = FeedForward(self.settings)
        self.layer_norm, self.final_layer_norm = self.settings.norm(), self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        attend = partial(self.attention, mask=mask, train=train)
        drop = partial(self.dropout, deterministic=not train)
        if self.settings.norm_first:
            x = x + drop(attend(self.layer_norm(x)))
            more: jax.Array = self.feed_forward(self.final_layer_norm(x), train=train)
            return x + more
        x = self.layer_norm(x + drop(attend(x)))
        out: jax.Array = self.final_layer_norm(x + self.feed_forward(x, train=train))
        return out


class Encoder(nn.Module):
    """Positions by a convolution, and the stack of layers."""

    settings: Settings
    series: LayerStack
    positions: Sequence[int]  # kernel and groups of the convolution
    activation: str  # after it

    def setup(self) -> None:
        kernel, groups = self.positions
        self.pos_conv_embed = PositionalConvolution(
            settings=self.settings, kernel=kernel, groups=groups, activation=self.activation
        )
        self.layer_norm = self.settings.norm()
        self.layers = self.series.build(partial(EncoderLayer, self.settings))
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, kept: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, frames, width) and a (batch, frames) mask -> (batch, frames, width)."""
        first = self.settings.norm_first
        x = x if kept is None else jnp.where(kept[..., None], x, 0)
        x = x + self.pos_conv_embed(x)
        x = self.dropout(x if first else self.layer_norm(x), deterministic=not train)
        mask = key_mask(kept)
        x = self.series.apply(self.layers, lambda layer, x: layer(x, mask, train=train), x)
        return self.layer_norm(x) if first else x
