"""Pictures from arrays, and arrays from pictures."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps

from converters._files import InputFile, atomic_write, blamed_on
from zoo._entry import Entry
from zoo._errors import ZooError
from zoo._model import Model

INK_BOX = 20 / 28  # MNIST's digits are scaled to 20 of 28 pixels, then centred by their mass
FAINT = 48  # of 255: less than this above the ground is no ink
GAP, SCALE = 4, 2  # pixels between the images of a grid, and how much larger than the model's they are


def grid(images: np.ndarray, columns: int) -> Image.Image:
    """(count, height, width, 1) images in [0, 1], light on dark, as one picture, row by row."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    tiles = np.zeros((rows * columns, height + GAP, width + GAP), np.uint8)
    inner = slice(GAP // 2, -(GAP // 2))
    tiles[:count, inner, inner] = np.round(np.clip(images[..., 0], 0, 1) * 255)
    sheet = tiles.reshape(rows, columns, height + GAP, width + GAP).transpose(0, 2, 1, 3)
    picture = Image.fromarray(sheet.reshape(rows * (height + GAP), columns * (width + GAP)))
    return picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.LANCZOS)


def write(picture: Image.Image, path: Path) -> None:
    """Writes the picture in the format that the name ends in, in place of what is there.

    Raises:
        ZooError: no known format.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ZooError(f"{str(path)!r} ends in no format of pictures; choose a name such as 'digits.png'.")
    encoded = io.BytesIO()
    picture.save(encoded, kind)
    with atomic_write(path, overwrite=True) as file:
        file.write(encoded.getvalue())


def read(paths: Sequence[str | os.PathLike[str]], entry: Entry) -> np.ndarray:
    """Image files as one batch of the model's input, (count, height, width, 1) in [0, 1].

    Raises:
        ZooError: the model takes no images, or a file is none.
    """
    if entry.preprocess is None:
        raise ZooError(f"{entry.name!r} is no classifier of images; `zoo info` says what it takes.")
    _, height, width, _ = entry.inputs[0].shape
    batch = [_fitted(_opened(path), height, width) for path in paths]
    return np.stack(batch)[..., None].astype(np.float32) / 255


def _opened(path: str | os.PathLike[str]) -> Image.Image:
    """The picture in shades of grey; on white where it is transparent."""
    with blamed_on(path):
        file = InputFile(path)
        content = file.read(0, file.size)
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ZooError(f"{os.fspath(path)!r} is no image that Pillow can read: {error}") from error
    if image.mode.startswith("I"):  # 16 bits, of which Pillow would keep the lower eight
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("L")


def _fitted(image: Image.Image, height: int, width: int) -> np.ndarray:
    """(height, width) strokes in [0, 255], light on dark, of the size and at the place of MNIST's."""
    pixels = np.asarray(image, np.float32)
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


@jax.jit
def probabilities(model: Model, images: jax.Array) -> jax.Array:
    """(count, num_classes) of a classifier."""
    return jax.nn.softmax(model(images).astype(jnp.float32))
