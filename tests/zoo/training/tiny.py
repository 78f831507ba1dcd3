"""A data set of a few images that a test writes itself, with hashes of its own."""

import hashlib
from pathlib import Path

import numpy as np

from zoo.training import Dataset, IdxFile

NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def write(directory: Path, *, train: int = 96, test: int = 37) -> Dataset:
    """Writes idx files: of each class a blurred random image, with noise; says what they hold."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 200, (10, 28, 28))
    splits = {}
    for split, count in (("train", train), ("test", test)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = (classes[labels] + rng.integers(0, 56, (count, 28, 28))).astype(np.uint8)
        arrays = zip(NAMES[split], (images, labels), strict=True)
        splits[split] = tuple(_write(directory, name, array) for name, array in arrays)
    return Dataset("tiny", splits, mirrors=())


def _write(directory: Path, name: str, array: np.ndarray) -> IdxFile:
    header = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.tobytes()
    (directory / name).write_bytes(content)
    return IdxFile(name, array.shape, hashlib.sha256(content).hexdigest())
