"""Drawings of single digits, as MNIST has them."""

import numpy as np
from PIL import Image

from zoo._errors import ZooError

INK_BOX = 20 / 28  # MNIST's digits are scaled to 20 of 28 pixels, then centred by their mass
FAINT = 48  # of 255: less than this above the ground is no ink


def fitted(image: Image.Image, height: int, width: int) -> np.ndarray:
    """(height, width, 1) strokes in [0, 1], light on dark, of the size and at the place of MNIST's."""
    # In shades of grey, and on white where it is transparent.
    layers = image.convert("RGBA")
    grey = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("L")
    return _strokes(np.asarray(grey, np.float32), height, width)[..., None] / np.float32(255)


def _strokes(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    ground = float(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])))
    if ground >= 128:  # dark on light
        pixels, ground = 255 - pixels, 255 - ground
    if pixels.shape == (height, width):  # from a data set
        return pixels
    ink = np.clip(pixels - ground, 0, None)
    if ink.max() < FAINT:
        raise ZooError(f"a picture shows no strokes: all of it is within {FAINT} of 255 shades of its edge.")
    ink *= 255 / ink.max()
    rows, columns = (np.flatnonzero((ink >= FAINT).any(axis)) for axis in (1, 0))
    cropped = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = INK_BOX * min(height, width) / max(cropped.size)
    size = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    # Averaging: thin strokes of large drawings become grey, as MNIST's edges are.
    return _centred(np.asarray(cropped.resize(size, Image.Resampling.BOX)), height, width)


def _centred(small: np.ndarray, height: int, width: int) -> np.ndarray:
    """The strokes on black, their centre of mass where MNIST has it."""
    placed = np.zeros((height, width), np.float32)
    offsets = []
    for axis, room in enumerate((height, width)):
        mass = small.sum(1 - axis)
        centre = mass @ np.arange(len(mass)) / mass.sum()
        # Pixel 14 of 28, counted from 0, is where MNIST's digits have theirs.
        offsets.append(int(np.clip(round(room // 2 - centre), 0, room - len(mass))))
    top, left = offsets
    placed[top : top + small.shape[0], left : left + small.shape[1]] = small
    return placed
