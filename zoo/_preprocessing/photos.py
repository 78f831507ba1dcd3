"""Photos as a model takes them: the numbers of torchvision's transforms and transformers' processors."""

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from zoo._errors import ZooError
from zoo._registry.entry import Photos

# Pixels that are left over beside a crop -> those before it.
ROUNDING: Mapping[str, Callable[[int], int]] = {
    "nearest": lambda rest: round(rest / 2),
    "floor": lambda rest: rest // 2,
}
MAX_PIXELS = 1 << 26  # of a resized picture: a strip of 1 x 1000 pixels would become one of 256 x 256,000


def pixels(image: Image.Image, how: Photos) -> np.ndarray:
    """(height, width, 3) uint8; (height, width, 1) for a model of gray pictures."""
    cut = np.asarray(_cropped(_resized(_colored(image, len(how.mean)), how), how))
    return cut if cut.ndim == 3 else cut[..., None]


def fitted(image: Image.Image, how: Photos) -> np.ndarray:
    """(height, width, 3 or 1) normalised float32."""
    shares = pixels(image, how).astype(np.float32) / np.float32(255)
    return (shares - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Returns one array of pictures of one size.

    Raises:
        ZooError: their sizes differ, since nothing in the preprocessing makes them equal.
    """
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ZooError(
            f"the model takes pictures in their own sizes, and these have {shapes[0]} and {shapes[-1]}; "
            "give those of one size together."
        )
    return np.stack(arrays)


def _colored(image: Image.Image, channels: int) -> Image.Image:
    with warnings.catch_warnings():
        # A palette with transparent colors; those behind them count, as everywhere.
        warnings.filterwarnings("ignore", "Palette images with Transparency", UserWarning)
        return image.convert("RGB" if channels == 3 else "L")


def _resized(image: Image.Image, how: Photos) -> Image.Image:
    """The shorter side `resize` pixels long, the longer one rounded down; or that height and width."""
    width, height = image.size
    if isinstance(how.resize, tuple):
        height, width = how.resize
    elif how.resize is not None:
        short, goal = min(image.size), how.resize
        width, height = (goal if side == short else int(goal * side / short) for side in image.size)
    if width * height > MAX_PIXELS:
        raise ZooError(f"a picture of {image.width} x {image.height} pixels is too narrow; crop it first.")
    if (width, height) == image.size:
        return image
    return image.resize((width, height), Image.Resampling[how.interpolation.upper()])


def _cropped(image: Image.Image, how: Photos) -> Image.Image:
    """The center, with black around it where the picture is smaller."""
    if how.crop is None:
        return image
    height, width = how.crop if isinstance(how.crop, tuple) else (how.crop, how.crop)
    left, top = (
        ROUNDING[how.rounding](side - cut) for side, cut in zip(image.size, (width, height), strict=True)
    )
    return image.crop((left, top, left + width, top + height))
