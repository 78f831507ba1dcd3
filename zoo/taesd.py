"""Tiny autoencoders that stand in for those of diffusion models: TAESD, TAESDXL, TAESD3 and TAEF1.

O. Boer Bohan, https://github.com/madebyollin/taesd; the reference is diffusers' AutoencoderTiny.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from converters.matching import NamesAndRules
from zoo._errors import ZooError
from zoo._nn.convolutions import conv, run, torch_kernel
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import ACTIVATIONS, check_activation, doubled
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

_LARGEST = 3  # about that, tanh keeps the latents below it
_LAYERS = 30  # at most, in a decoder; the published ones have 19


def _original() -> NamesAndRules:
    """Returns the names in the author's files, whose decoder begins with the function that limits latents."""
    later = ((rf"^decoder\.layers\.{index}\.", f"decoder.{index + 1}.") for index in range(_LAYERS))
    return (*later, (r"^encoder\.layers\.", "encoder."))


TORCH_NAMES: dict[str, NamesAndRules] = {"diffusers": (), "original": _original()}
CONFIG_FIELDS = {
    "autoencodertiny": ConfigFields(
        keywords={
            "in_channels": "in_channels",
            "out_channels": "out_channels",
            "encoder_block_out_channels": "encoder_widths",
            "decoder_block_out_channels": "decoder_widths",
            "block_out_channels": "decoder_widths",
            "num_encoder_blocks": "encoder_blocks",
            "num_decoder_blocks": "decoder_blocks",
            "act_fn": "activation",
            "latent_channels": "latent_channels",
            "scaling_factor": "scaling_factor",
            "shift_factor": "shift_factor",
        },
        heads={"AutoencoderTiny": {}},
        fixed={"upsampling_scaling_factor": 2, "upsample_fn": "nearest"},
        # By which diffusers makes bytes of latents, where its model is called as a whole.
        irrelevant=("latent_magnitude", "latent_shift", "force_upcast"),
        inputs=(Input("images", (1, 256, 256, 3), "float32"),),
    )
}
inputs = image_inputs


class Block(nn.Module):
    """Three convolutions with activations between them, beside a shortcut, and a ReLU."""

    width: int
    activation: str
    dtype: DTypeLike | None

    def setup(self) -> None:
        act = ACTIVATIONS[self.activation]
        layers = [_conv(self.width, self.dtype) for _ in range(3)]
        # Functions have their place, so that the layers have their PyTorch numbers.
        self.conv = [layers[0], act, layers[1], act, layers[2]]

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, width) -> the same shape."""
        return nn.relu(run(self.conv, x, train=False) + x)


class Encoder(nn.Module):
    """Convolutions, all but the first of which halve the sides, each followed by its blocks."""

    width: int
    blocks: tuple[int, ...]
    latent_channels: int
    activation: str
    dtype: DTypeLike | None

    def setup(self) -> None:
        layers: list[Any] = []
        for index, count in enumerate(self.blocks):
            stride = 2 if index else 1
            layers.append(_conv(self.width, self.dtype, stride=stride, bias=stride == 1))
            layers += [Block(self.width, self.activation, self.dtype) for _ in range(count)]
        self.layers = [*layers, _conv(self.latent_channels, self.dtype)]

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, in_channels) -> (batch, rows, columns, latent_channels)."""
        out: jax.Array = run(self.layers, x, train=False)
        return out


class Decoder(nn.Module):
    """A convolution, then blocks that are followed by a convolution, before which all but the last double."""

    width: int
    blocks: tuple[int, ...]
    out_channels: int
    activation: str
    dtype: DTypeLike | None

    def setup(self) -> None:
        layers: list[Any] = [_conv(self.width, self.dtype), ACTIVATIONS[self.activation]]
        *earlier, last = self.blocks
        for count in earlier:
            layers += [Block(self.width, self.activation, self.dtype) for _ in range(count)]
            layers += [doubled, _conv(self.width, self.dtype, bias=False)]
        layers += [Block(self.width, self.activation, self.dtype) for _ in range(last)]
        self.layers = [*layers, _conv(self.out_channels, self.dtype)]

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, rows, columns, latent_channels) -> (batch, height, width, out_channels)."""
        out: jax.Array = run(self.layers, jnp.tanh(x / _LARGEST) * _LARGEST, train=False)
        return out


class AutoencoderTiny(nn.Module):
    """Images in [-1, 1] to the latents that a diffusion model has, of an eighth of their sides, and back."""

    in_channels: int
    out_channels: int
    widths: tuple[int, int]
    blocks: tuple[tuple[int, ...], tuple[int, ...]]
    latent_channels: int
    activation: str
    scaling_factor: float
    shift_factor: float
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        options: dict[str, Any] = {"activation": self.activation, "dtype": self.dtype}
        (width, other), (blocks, others) = self.widths, self.blocks
        self.encoder = Encoder(width, blocks, self.latent_channels, **options)
        self.decoder = Decoder(other, others, self.out_channels, **options)

    def encode(self, images: jax.Array) -> jax.Array:
        """(batch, height, width, in_channels) images in [-1, 1] -> (batch, rows, columns, latent_channels).

        The sides are halved once less than the encoder has stages, and rounded up.

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(images, (None, None, self.in_channels))
        latents: jax.Array = self.encoder((x + 1) / 2)
        return latents

    def decode(self, latents: jax.Array) -> jax.Array:
        """(batch, rows, columns, latent_channels) latents -> images of eight times the sides, about [-1, 1].

        Raises:
            ZooError: latents of another shape.
        """
        x = checked_images(latents, (None, None, self.latent_channels), name="latents")
        images: jax.Array = self.decoder(x)
        return 2 * images - 1

    def scale(self, latents: jax.Array) -> jax.Array:
        """Returns the latents that a diffusion model has: these, in all that are published."""
        return (latents - self.shift_factor) * self.scaling_factor

    def unscale(self, latents: jax.Array) -> jax.Array:
        """Returns what `decode` takes of a diffusion model's latents; the inverse of `scale`."""
        return latents / self.scaling_factor + self.shift_factor

    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Images -> reconstructed images; latents are not rounded to bytes between, as diffusers does."""
        return self.decode(self.encode(images))


def create(
    *,
    in_channels: int = 3,
    out_channels: int = 3,
    encoder_widths: Sequence[int] = (64, 64, 64, 64),
    decoder_widths: Sequence[int] = (64, 64, 64, 64),
    encoder_blocks: Sequence[int] = (1, 3, 3, 3),
    decoder_blocks: Sequence[int] = (3, 3, 3, 1),
    latent_channels: int = 4,
    activation: str = "relu",
    scaling_factor: float = 1.0,
    shift_factor: float = 0.0,
    dtype: DTypeLike | None = None,
) -> AutoencoderTiny:
    """Builds a tiny autoencoder; the defaults are TAESD's and TAESDXL's.

    Args:
        in_channels: Number of channels of the images that are encoded.
        out_channels: Number of channels of those that are decoded.
        encoder_widths: Number of channels of the encoder's stages, which is one number.
        decoder_widths: The same of the decoder's.
        encoder_blocks: Number of blocks of each of the encoder's stages.
        decoder_blocks: The same of the decoder's.
        latent_channels: Number of channels of the latents; 16 in TAESD3 and TAEF1.
        activation: Name of the activation, one of ACTIVATIONS.
        scaling_factor: Factor by which diffusion models' latents are larger.
        shift_factor: Number that is taken from latents before.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such activation, or stages of several widths, or other numbers of them.
    """
    for name, widths, blocks in (
        ("encoder_widths", encoder_widths, encoder_blocks),
        ("decoder_widths", decoder_widths, decoder_blocks),
    ):
        if len(widths) != len(blocks) or len({*widths}) != 1:
            raise ZooError(f"{name}={tuple(widths)}; expected one number, once for each of {tuple(blocks)}.")
    return AutoencoderTiny(
        in_channels=in_channels,
        out_channels=out_channels,
        widths=(encoder_widths[0], decoder_widths[0]),
        blocks=(tuple(encoder_blocks), tuple(decoder_blocks)),
        latent_channels=latent_channels,
        activation=check_activation(activation),
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
        dtype=dtype,
    )


def _conv(channels: int, dtype: DTypeLike | None, *, stride: int = 1, bias: bool = True) -> nn.Conv:
    return conv(channels, 3, stride, bias=bias, init=torch_kernel, dtype=dtype)
