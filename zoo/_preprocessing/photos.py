"""Photos as a classifier takes them: the numbers of torchvision's transforms, by Pillow's own resampling."""

import warnings

import numpy as np
from PIL import Image

from zoo._errors import ZooError
from zoo._registry.entry import Photos

MAX_PIXELS = 1 << 26  # of a resized picture: a strip of 1 x 1000 pixels would become one of 256 x 256,000


def pixels(image: Image.Image, how: Photos) -> np.ndarray:
    """(crop, crop, 3) uint8."""
    return np.asarray(_cropped(_resized(_coloured(image), how), how.crop))


def fitted(image: Image.Image, how: Photos) -> np.ndarray:
    """(crop, crop, 3) normalised float32."""
    shares = pixels(image, how).astype(np.float32) / np.float32(255)
    return (shares - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)


def _coloured(image: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        # A palette with transparent colours; those behind them count, as everywhere.
        warnings.filterwarnings("ignore", "Palette images with Transparency", UserWarning)
        return image.convert("RGB")


def _resized(image: Image.Image, how: Photos) -> Image.Image:
    """The shorter side `resize` pixels long; the longer one is rounded down."""
    short = min(image.size)
    width, height = (how.resize if side == short else int(how.resize * side / short) for side in image.size)
    if width * height > MAX_PIXELS:
        raise ZooError(f"a picture of {image.width} x {image.height} pixels is too narrow; crop it first.")
    if (width, height) == image.size:
        return image
    return image.resize((width, height), Image.Resampling[how.interpolation.upper()])


def _cropped(image: Image.Image, size: int) -> Image.Image:
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))
