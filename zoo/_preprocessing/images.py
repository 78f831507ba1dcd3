"""Pictures from arrays, and arrays from pictures."""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import jax
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from converters.errors import CheckpointError
from converters.io import InputFile, atomic_write, named_errors
from zoo._errors import ZooError
from zoo._preprocessing import digits, photos
from zoo._registry.entry import Entry, Photos

MAX_16_BITS = 65535
GAP, SCALE = 4, 2  # pixels between the images of a grid, and how much larger than the model's they are

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | jax.Array
Pictures: TypeAlias = Picture | Iterable[Picture]


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


def read(images: Pictures, entry: Entry) -> np.ndarray:
    """Pictures as one batch of the model's input, (count, height, width, channels), float32.

    Raises:
        ZooError: something is no picture.
    """
    pictures = [_picture(each) for each in several(images)]
    if not pictures:
        raise ZooError("no pictures; give at least one.")
    if isinstance(entry.preprocess, Photos):
        return photos.stacked([photos.fitted(picture, entry.preprocess) for picture in pictures])
    height, width = _sides(entry)
    return np.stack([digits.fitted(picture, height, width) for picture in pictures])


def pixels(path: str | os.PathLike[str], entry: Entry) -> np.ndarray:
    """Returns the picture in a file as (height, width, channels) uint8: the input before normalisation.

    Raises:
        ZooError: it is no picture.
    """
    picture = eight_bits(opened(path))
    if isinstance(entry.preprocess, Photos):
        return photos.pixels(picture, entry.preprocess)
    height, width = _sides(entry)
    return np.round(255 * digits.fitted(picture, height, width)).astype(np.uint8)


def _sides(entry: Entry) -> tuple[int, int]:
    assert entry.images is not None  # has preprocessing
    _, height, width, _ = entry.images.shape
    return height, width


def several(images: Pictures) -> Iterable[Picture]:
    """Returns pictures: a batch is an array of four axes or a sequence, everything else is one picture."""
    if isinstance(images, np.ndarray | jax.Array):
        return np.asarray(images) if images.ndim == 4 else [images]
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    # Of what is nothing of the kind, reading says so.
    return images if isinstance(images, Iterable) else [images]


def _picture(image: Picture) -> Image.Image:
    """As Pillow has it; with eight bits for each color."""
    if isinstance(image, np.ndarray | jax.Array):
        return _from_array(np.asarray(image))
    if isinstance(image, str | os.PathLike):
        image = opened(image)
    elif not isinstance(image, Image.Image):
        raise ZooError(f"no picture: {type(image).__name__}; give a path, a Pillow image or an array.")
    return eight_bits(image)


def eight_bits(image: Image.Image) -> Image.Image:
    """Returns a picture of floats in [0, 1] or of 16 bits with eight bits, which Pillow would clip them to.

    Raises:
        ZooError: its floats or integers are of another range.
    """
    if image.mode == "F":
        return _from_array(np.asarray(image))
    if image.mode.startswith("I"):
        numbers = np.asarray(image)
        if numbers.min() < 0 or numbers.max() > MAX_16_BITS:
            raise ZooError(
                f"no picture: integers from {numbers.min()} to {numbers.max()}; expected 0 to {MAX_16_BITS}."
            )
        return Image.fromarray((numbers // 257).astype(np.uint8))
    return image


def _from_array(pixels: np.ndarray) -> Image.Image:
    floats = np.issubdtype(pixels.dtype, np.floating)
    if (
        not (floats or pixels.dtype == np.uint8)
        or pixels.ndim not in (2, 3)
        or pixels.shape[2:] not in ((), (1,), (3,), (4,))
        or not pixels.size
    ):
        raise ZooError(
            f"no picture: {pixels.dtype} of shape {pixels.shape}; expected uint8, or floats in [0, 1], of "
            "shape (height, width) or (height, width, channels), channels last and 1, 3 or 4 of them."
        )
    if floats:
        low, high = float(pixels.min()), float(pixels.max())
        if not 0 <= low <= high <= 1:  # nor NaN
            raise ZooError(
                f"no picture: floats from {low:g} to {high:g}; expected them in [0, 1], "
                "or uint8 from 0 to 255, before any normalisation."
            )
        pixels = np.round(pixels.astype(np.float64) * 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


def opened(path: str | os.PathLike[str]) -> Image.Image:
    """Returns the picture in a file, upright.

    Raises:
        ZooError: there is no such file, or it is no picture.
    """
    if not os.path.exists(path):
        raise ZooError(f"{os.fspath(path)!r}: No such file; expected that of a picture.")
    if os.path.isdir(path):
        raise ZooError(f"{os.fspath(path)!r} is a directory; name the pictures in it.")
    try:
        with named_errors(path):
            file = InputFile(path)
            content = file.read(0, file.size)
    except CheckpointError as error:
        raise ZooError(str(error)) from error
    try:
        return ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    except UnidentifiedImageError as error:  # which names the buffer
        raise ZooError(f"{os.fspath(path)!r} is no image that Pillow can read.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ZooError(f"{os.fspath(path)!r} is no image that Pillow can read: {error}") from error
