"""Data sets to train and measure on: what their files must hold, and where they come from."""

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from converters._errors import CheckpointError
from converters._files import aligned_read
from zoo._errors import DataError
from zoo.training._download import download

SLACK = 65_536  # bytes that a compressed file may be larger than its content


class Examples(NamedTuple):
    """Images (count, height, width, channels) as uint8 and class indices (count,) as int32."""

    images: np.ndarray[Any, Any] | jax.Array
    labels: np.ndarray[Any, Any] | jax.Array


@dataclass(frozen=True)
class IdxFile:
    """One array of bytes with a header; `sha256` is that of the uncompressed file."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The header that a file of this shape has: type uint8, number of axes, sizes."""
        return bytes([0, 0, 8, len(self.shape)]) + b"".join(size.to_bytes(4, "big") for size in self.shape)

    @property
    def size(self) -> int:
        """Bytes of the uncompressed file."""
        return len(self.header) + prod(self.shape)


@dataclass(frozen=True)
class Dataset:
    """Images and labels of each split, and the addresses that serve their files compressed."""

    name: str
    splits: Mapping[str, tuple[IdxFile, IdxFile]]
    mirrors: tuple[str, ...]


DATASETS = {
    "mnist": Dataset(
        name="mnist",
        splits={
            "train": (
                IdxFile(
                    "train-images-idx3-ubyte",
                    (60_000, 28, 28),
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                IdxFile(
                    "train-labels-idx1-ubyte",
                    (60_000,),
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
            ),
            "test": (
                IdxFile(
                    "t10k-images-idx3-ubyte",
                    (10_000, 28, 28),
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                IdxFile(
                    "t10k-labels-idx1-ubyte",
                    (10_000,),
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            ),
        },
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
    )
}


def load_split(dataset: Dataset, split: str, directory: Path | None = None) -> Examples:
    """The examples of a split, from idx files in the directory, plain or ending in .gz.

    Without a directory the files come from the user's cache, and into it from the data set's mirrors.

    Raises:
        DataError: a file is missing, cut off, or not the data set's; or no mirror has it.
    """
    images, labels = (_load(file, dataset, directory) for file in dataset.splits[split])
    return Examples(images[..., None], labels.astype(np.int32))


def cache_directory(dataset: Dataset) -> Path:
    """Where downloads are kept: under XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flax-zoo" / dataset.name


def _load(file: IdxFile, dataset: Dataset, directory: Path | None) -> np.ndarray[Any, Any]:
    path = _find(file, directory) if directory else cache_directory(dataset) / f"{file.name}.gz"
    if not directory and not path.exists():
        download(
            [f"{mirror}{path.name}" for mirror in dataset.mirrors],
            path,
            limit=file.size + SLACK,
            check=lambda content, address: _parse(content, file, address, "the mirror serves another file"),
        )
    try:
        if path.stat().st_size > file.size + SLACK:
            raise DataError(
                f"{str(path)!r} has {path.stat().st_size:,} bytes; expected at most {file.size:,}."
            )
        content = aligned_read(path).tobytes()
    except (CheckpointError, OSError) as error:
        raise DataError(f"{file.name} of {dataset.name} cannot be read: {error}") from error
    advice = "get the file again" if directory else "delete it, then it is downloaded again"
    return _parse(content, file, str(path), advice)


def _find(file: IdxFile, directory: Path) -> Path:
    for path in (directory / file.name, directory / f"{file.name}.gz"):
        if path.exists():
            return path
    raise DataError(
        f"{str(directory)!r} has neither {file.name!r} nor {file.name + '.gz'!r}; "
        "name the directory that has it, or none to download it."
    )


def _parse(content: bytes, file: IdxFile, path: str, advice: str) -> np.ndarray[Any, Any]:
    """The array in the file's bytes, which are the data set's or refused."""
    if content.startswith(b"\x1f\x8b"):
        content = _unzip(content, file, path, advice)
    if len(content) != file.size:
        verb = "is cut off:" if len(content) < file.size else "is too long:"
        raise DataError(f"{path!r} {verb} {len(content):,} bytes, expected {file.size:,}; {advice}.")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataError(f"{path!r} is not {file.name}: sha256 {found}, expected {file.sha256}; {advice}.")
    if not content.startswith(file.header):
        raise DataError(f"{path!r} begins with {content[:16].hex()}, expected {file.header.hex()}; {advice}.")
    return np.frombuffer(content, np.uint8, offset=len(file.header)).reshape(file.shape)


def _unzip(content: bytes, file: IdxFile, path: str, advice: str) -> bytes:
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        # One byte more than expected is enough to know that there are too many.
        plain = unzip.decompress(content, file.size + 1)
    except zlib.error as error:
        raise DataError(f"{path!r} is damaged: {error}; {advice}.") from error
    if len(plain) == file.size and not unzip.eof:
        raise DataError(f"{path!r} is cut off: its checksum is missing; {advice}.")
    return plain
