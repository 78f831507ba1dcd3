"""The autoencoder of latent diffusion: images to Gaussians of latents, and latents to images.

Rombach et al., https://arxiv.org/abs/2112.10752, section 3.1; the reference is diffusers' AutoencoderKL.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.images import checked_images
from zoo._nn.layers import check_activation
from zoo.autoencoder_kl.layers import MidBlock, Stage, Style
from zoo.autoencoder_kl.layouts import STAGE_KINDS

_LOGVAR = (-30.0, 20.0)  # least and largest


class Encoder(nn.Module):
    """Stages of residual blocks, each but the last with half the sides, and a block with attention."""

    widths: tuple[int, ...]
    depth: int
    out_channels: int
    attends: bool
    style: Style

    def setup(self) -> None:
        self.conv_in = self.style.conv(self.widths[0])
        changes = ["downsamplers"] * (len(self.widths) - 1) + [""]
        self.down_blocks = [
            Stage(width, self.depth, change, self.style)
            for width, change in zip(self.widths, changes, strict=True)
        ]
        self.mid_block = MidBlock(self.widths[-1], self.attends, self.style)
        self.conv_norm_out = self.style.norm()
        self.conv_out = self.style.conv(self.out_channels)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, in_channels) -> (batch, rows, columns, out_channels)."""
        x = self.conv_in(x)
        for block in (*self.down_blocks, self.mid_block):
            x = block(x)
        out: jax.Array = self.conv_out(self.style.act(self.conv_norm_out(x)))
        return out


class Decoder(nn.Module):
    """A block with attention, and stages of residual blocks, each but the last with twice the sides."""

    widths: tuple[int, ...]  # as the encoder's
    depth: int
    out_channels: int
    attends: bool
    style: Style

    def setup(self) -> None:
        self.conv_in = self.style.conv(self.widths[-1])
        self.mid_block = MidBlock(self.widths[-1], self.attends, self.style)
        changes = ["upsamplers"] * (len(self.widths) - 1) + [""]
        self.up_blocks = [
            Stage(width, self.depth + 1, change, self.style)
            for width, change in zip(self.widths[::-1], changes, strict=True)
        ]
        self.conv_norm_out = self.style.norm()
        self.conv_out = self.style.conv(self.out_channels)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, rows, columns, latent_channels) -> (batch, height, width, out_channels)."""
        x = self.conv_in(x)
        for block in (self.mid_block, *self.up_blocks):
            x = block(x)
        out: jax.Array = self.conv_out(self.style.act(self.conv_norm_out(x)))
        return out


class AutoencoderKL(nn.Module):
    """Images in [-1, 1] to latents of an eighth of their sides, and back; "noise" is the RNG stream."""

    in_channels: int
    out_channels: int
    widths: tuple[int, ...]
    depth: int
    latent_channels: int
    groups: int
    activation: str
    attends: bool
    quantized: tuple[bool, bool]
    scaling_factor: float
    shift_factor: float
    latents_mean: tuple[float, ...]
    latents_std: tuple[float, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        options: dict[str, Any] = {
            "widths": self.widths,
            "depth": self.depth,
            "attends": self.attends,
            "style": Style(self.groups, self.activation, self.dtype),
        }
        self.encoder = Encoder(out_channels=2 * self.latent_channels, **options)
        self.decoder = Decoder(out_channels=self.out_channels, **options)
        self.quant_conv = options["style"].conv(2 * self.latent_channels, 1)
        self.post_quant_conv = options["style"].conv(self.latent_channels, 1)

    def encode(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(batch, height, width, in_channels) images in [-1, 1] -> mean and logvar of the latents.

        Each is (batch, height / 8, width / 8, latent_channels), rounded down; the mean is the mode. The sides
        are halved once less than there are stages.

        Raises:
            ZooError: images of another shape, or too small.
        """
        smallest = 2 ** (len(self.widths) - 1)
        x = self.encoder(checked_images(images, (None, None, self.in_channels), smallest=smallest))
        mean, logvar = jnp.split(self.quant_conv(x) if self.quantized[0] else x, 2, axis=-1)
        return mean, jnp.clip(logvar, *_LOGVAR)

    def reparameterize(self, mean: jax.Array, logvar: jax.Array) -> jax.Array:
        """Draws latents of the Gaussian with rngs={"noise": key}."""
        noise = jax.random.normal(self.make_rng("noise"), mean.shape, mean.dtype)
        return mean + noise * jnp.exp(0.5 * logvar)

    def decode(self, latents: jax.Array) -> jax.Array:
        """(batch, rows, columns, latent_channels) latents -> images of eight times the sides, about [-1, 1].

        Raises:
            ZooError: latents of another shape.
        """
        x = checked_images(latents, (None, None, self.latent_channels), name="latents")
        out: jax.Array = self.decoder(self.post_quant_conv(x) if self.quantized[1] else x)
        return out

    def scale(self, latents: jax.Array) -> jax.Array:
        """Returns the latents that a diffusion model has: of mean 0 and variance 1, about."""
        shift, scale = self._statistics(latents.dtype)
        return (latents - shift) * scale

    def unscale(self, latents: jax.Array) -> jax.Array:
        """Returns what `decode` takes of a diffusion model's latents; the inverse of `scale`."""
        shift, scale = self._statistics(latents.dtype)
        return latents / scale + shift

    def _statistics(self, dtype: Any) -> tuple[jax.Array, jax.Array]:
        shift = jnp.asarray(self.latents_mean or self.shift_factor, dtype)
        return shift, self.scaling_factor / jnp.asarray(self.latents_std or 1.0, dtype)

    def __call__(
        self, images: jax.Array, *, sample: bool = False, train: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Images -> reconstructed images, and mean and logvar of their latents.

        With `sample` the latents are drawn, with rngs={"noise": key}; otherwise they are the mean. Nothing is
        different in training.
        """
        mean, logvar = self.encode(images)
        return self.decode(self.reparameterize(mean, logvar) if sample else mean), mean, logvar


def create(
    *,
    in_channels: int = 3,
    out_channels: int = 3,
    widths: Sequence[int] = (128, 256, 512, 512),
    depth: int = 2,
    latent_channels: int = 4,
    groups: int = 32,
    activation: str = "silu",
    attention: bool = True,
    quant_conv: bool = True,
    post_quant_conv: bool = True,
    scaling_factor: float = 0.18215,
    shift_factor: float = 0.0,
    latents_mean: Sequence[float] = (),
    latents_std: Sequence[float] = (),
    down_block_types: Sequence[str] = (),
    up_block_types: Sequence[str] = (),
    dtype: DTypeLike | None = None,
) -> AutoencoderKL:
    """Builds an autoencoder; the defaults are Stable Diffusion's.

    Args:
        in_channels: Number of channels of the images that are encoded.
        out_channels: Number of channels of decoded images.
        widths: Numbers of channels of the encoder's stages; the decoder has them in reverse.
        depth: Number of residual blocks of the encoder's stages; the decoder's have one more.
        latent_channels: Number of channels of the latents.
        groups: Number of groups of the norms, which divides the widths.
        activation: Name of the activation, one of ACTIVATIONS.
        attention: If true, the block after the encoder's stages and the one before the decoder's attend.
        quant_conv: If true, a 1x1 convolution ends the encoder; SD3's and FLUX's have none.
        post_quant_conv: If true, a 1x1 convolution begins the decoder.
        scaling_factor: Factor from latents to those of diffusion models.
        shift_factor: Number subtracted from latents before that factor.
        latents_mean: Number to subtract for each channel, instead.
        latents_std: Standard deviation of each channel, by which latents are divided; by default 1.
        down_block_types: Kind of each of the encoder's stages in diffusers, of which the zoo has one.
        up_block_types: Kind of each of the decoder's.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such activation or kind of stage, groups that do not divide a width, or statistics of
            other channels.
    """
    for name, kinds in (("down_block_types", down_block_types), ("up_block_types", up_block_types)):
        if kinds and tuple(kinds) != (STAGE_KINDS[name],) * len(widths):
            raise ZooError(f"{name}={tuple(kinds)}; the zoo has {STAGE_KINDS[name]!r}, once for each width.")
    if not widths or any(width % groups for width in widths):
        raise ZooError(f"widths={tuple(widths)}; expected multiples of groups={groups}.")
    for name, statistics in (("latents_mean", latents_mean), ("latents_std", latents_std)):
        if len(statistics) not in (0, latent_channels):
            raise ZooError(f"{name} has {len(statistics)} numbers; expected {latent_channels}.")
    return AutoencoderKL(
        in_channels=in_channels,
        out_channels=out_channels,
        widths=tuple(widths),
        depth=depth,
        latent_channels=latent_channels,
        groups=groups,
        activation=check_activation(activation),
        attends=attention,
        quantized=(quant_conv, post_quant_conv),
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
        latents_mean=tuple(latents_mean),
        latents_std=tuple(latents_std),
        dtype=dtype,
    )
