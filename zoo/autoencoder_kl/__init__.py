"""Autoencoders whose latents diffusion models draw: Stable Diffusion's, SDXL's, SD3's and FLUX's."""

from zoo._nn.images import image_inputs as inputs
from zoo.autoencoder_kl.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.autoencoder_kl.model import AutoencoderKL, create

__all__ = ["CONFIG_FIELDS", "IGNORED", "TORCH_NAMES", "AutoencoderKL", "create", "inputs"]
