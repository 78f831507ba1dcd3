"""Cases of autoencoders and of distances of images."""

from dataclasses import replace
from functools import partial

import numpy as np

from tests.cases.case import Case, images
from tests.reference.classics import LPIPS
from tests.reference.latents import TAESD, AutoencoderKL

SQUEEZE = {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512}
VGG = {3: 64, 8: 128, 15: 256, 22: 512, 29: 512}
ALEX = {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}


def pair(batch: int, height: int, width: int) -> list[np.ndarray]:
    """Images in [-1, 1] and others."""
    both = 2 * images(2 * batch, height, width, 3) - 1
    return [both[:batch], both[batch:]]


SMALL = {"widths": (8, 12), "depth": 1, "latent_channels": 3, "groups": 4}
CASES = {
    "autoencoder_kl": Case(
        "autoencoder_kl",
        SMALL,
        partial(AutoencoderKL, (8, 12), 1, 3, 4),
        [pair(2, 9, 14)[0]],
        layout="diffusers",
    ),
    "autoencoder_kl, with old names": Case(
        "autoencoder_kl",
        {**SMALL, "depth": 2, "quant_conv": False, "post_quant_conv": False},
        partial(AutoencoderKL, (8, 12), 2, 3, 4, quantized=False, old=True),
        [pair(2, 9, 14)[0]],
        layout="diffusers_before_0.15",
        slow=True,
    ),
    "taesd": Case(
        "taesd",
        {
            "encoder_widths": (8, 8),
            "decoder_widths": (6, 6),
            "encoder_blocks": (1, 2),
            "decoder_blocks": (2, 1),
            "latent_channels": 5,
        },
        partial(TAESD, (8, 6), 5, (1, 2), (2, 1)),
        [pair(2, 9, 14)[0]],
        layout="diffusers",
    ),
    "lpips": Case(
        "lpips",
        {"dropout": 0.0},
        partial(LPIPS, "alexnet", ALEX),
        pair(2, 35, 47),
        layout="lpips",
    ),
    "lpips, squeezenet": Case(
        "lpips",
        {"net": "squeeze", "dropout": 0.0},
        partial(LPIPS, "squeezenet1_1", SQUEEZE),
        pair(2, 35, 47),
        layout="lpips",
        slow=True,
    ),
    "lpips, vgg": Case(
        "lpips",
        {"net": "vgg", "dropout": 0.0},
        partial(LPIPS, "vgg16", VGG),
        pair(2, 16, 19),
        layout="lpips",
        slow=True,
    ),
}
DROPOUT_CASES = {
    "lpips, dropout": replace(
        CASES["lpips"],
        config={"dropout": 0.5},
        twin=partial(LPIPS, "alexnet", ALEX, dropout=0.5),
        drops_maps=True,
    ),
}
