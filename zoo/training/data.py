"""Data sets for training and evaluation: their files, checked and read, from a directory or from mirrors."""

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from converters.errors import CheckpointError
from converters.io import aligned_read
from zoo._errors import DataError
from zoo._hub import cache, mirrors
from zoo._hub.checksum import Checksum
from zoo.training import cifar

SLACK = 65_536  # bytes that a compressed file may be larger than its content

Array: TypeAlias = np.ndarray[Any, Any]


class Examples(NamedTuple):
    """Inputs and their labels.

    Images (count, height, width, channels) as uint8 and class indices (count,) as int32; or tokens
    (count, length) and the next token of each, both int32.
    """

    inputs: Array | jax.Array
    labels: Array | jax.Array


@dataclass(frozen=True)
class DataFile:
    """A file with one array of bytes.

    Attributes:
        name: Name of the uncompressed file.
        shape: Shape of the array.
        sha256: Hash of the uncompressed file.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The bytes before the array."""
        return b""

    @property
    def size(self) -> int:
        """Size of the uncompressed file, in bytes."""
        return len(self.header) + prod(self.shape)


class IdxFile(DataFile):
    """A file with an array of bytes after a header, in MNIST's format."""

    @property
    def header(self) -> bytes:
        """The header for this shape: type uint8, number of axes, sizes."""
        return bytes([0, 0, 8, len(self.shape)]) + b"".join(size.to_bytes(4, "big") for size in self.shape)


def _of_idx(split: str, images: Array, labels: Array) -> Examples:
    return Examples(images[..., None], labels.astype(np.int32))


@dataclass(frozen=True)
class Dataset:
    """A data set: the files of each split, and the URLs that serve them.

    Attributes:
        name: Name in recipes.
        splits: The files of each split.
        mirrors: URLs of the files, compressed if they end in .gz; {} stands for a file's name.
        examples: Converts a split's name and the arrays of its files to its examples.
        archive: The .tar.gz that the mirrors serve instead of the files, with its own size and hash.
        pictures: Returns the bytes of a named file made of a directory's pictures; None if it has none.
        beside: Functions that make the files to save with the weights, by name.
    """

    name: str
    splits: Mapping[str, tuple[DataFile, ...]]
    mirrors: tuple[str, ...]
    _: KW_ONLY
    examples: Callable[..., Examples] = _of_idx
    archive: DataFile | None = None
    pictures: Callable[[str, Path], bytes | None] = lambda name, directory: None
    beside: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)


def load_split(dataset: Dataset, split: str, directory: str | os.PathLike[str] | None = None) -> Examples:
    """Reads the examples of a split from the data set's files in the directory: plain, .gz, or archived.

    Without a directory they are read from the cache (ZOO_CACHE), after a download from the mirrors if needed.

    Raises:
        DataError: a file is missing, truncated, or has other content; or no mirror serves it.
    """
    files = dataset.splits[split]
    advice = "get the file again" if directory else "delete it, then it is downloaded again"
    place = Path(directory) if directory else cache_directory(dataset)
    if not directory:
        for file in (dataset.archive,) if dataset.archive else files:
            _fetch(file, dataset, place)
    try:
        contents = _contents(dataset, files, place, advice)
    except (CheckpointError, OSError) as error:
        raise DataError(f"{split} examples of {dataset.name} cannot be read: {error}") from error
    arrays = [
        _parse(content, file, path, advice) for file, (content, path) in zip(files, contents, strict=True)
    ]
    return dataset.examples(split, *arrays)


def cache_directory(dataset: Dataset) -> Path:
    """Returns the directory of the data set's downloads, in the zoo's cache."""
    return cache.root() / dataset.name


def _fetch(file: DataFile, dataset: Dataset, directory: Path) -> None:
    """Downloads the file if it is missing."""
    if any(path.exists() for path in _spellings(file, directory)):
        return
    addresses = [mirror.format(file.name) for mirror in dataset.mirrors]
    limit = file.size + SLACK
    if f"{file.name}.gz" not in str(addresses):
        whole = Checksum(file.sha256, file.size)
        mirrors.fetch(addresses, directory / file.name, checksum=whole, limit=limit)
        return

    def check(path: Path, address: str) -> None:
        _parse(aligned_read(path).tobytes(), file, address, "the mirror serves another file")

    # How it is compressed may differ between mirrors, and so may size and hash.
    unknown = Checksum("")
    mirrors.fetch(addresses, directory / f"{file.name}.gz", checksum=unknown, limit=limit, check=check)


def _contents(
    dataset: Dataset, files: Sequence[DataFile], directory: Path, advice: str
) -> list[tuple[bytes, str]]:
    """Reads each file's bytes, which may be compressed, and returns them with the path."""
    if dataset.archive and (path := directory / dataset.archive.name).exists():
        packed = _read(path, dataset.archive)
        _check(packed, dataset.archive, str(path), advice)
        return [(content, str(path)) for content in cifar.unpack(packed, [file.name for file in files])]
    found = []
    for file in files:
        if drawn := dataset.pictures(file.name, directory):
            found.append((drawn, str(directory)))
        else:
            path = _find(file, directory)
            found.append((_read(path, file), str(path)))
    return found


def _read(path: Path, file: DataFile) -> bytes:
    if path.stat().st_size > file.size + SLACK:
        raise DataError(f"{str(path)!r} has {path.stat().st_size:,} bytes; expected at most {file.size:,}.")
    return aligned_read(path).tobytes()


def _spellings(file: DataFile, directory: Path) -> tuple[Path, Path]:
    return directory / file.name, directory / f"{file.name}.gz"


def _find(file: DataFile, directory: Path) -> Path:
    for path in _spellings(file, directory):
        if path.exists():
            return path
    raise DataError(
        f"{str(directory)!r} has neither {file.name!r} nor {file.name + '.gz'!r}; "
        "name the directory that has it, or none to download it."
    )


def _parse(content: bytes, file: DataFile, path: str, advice: str) -> Array:
    """Verifies the file's bytes, and returns their array."""
    if content.startswith(b"\x1f\x8b"):
        content = _unzip(content, file, path, advice)
    _check(content, file, path, advice)
    if not content.startswith(file.header):
        raise DataError(f"{path!r} begins with {content[:16].hex()}, expected {file.header.hex()}; {advice}.")
    return np.frombuffer(content, np.uint8, offset=len(file.header)).reshape(file.shape)


def _check(content: bytes, file: DataFile, path: str, advice: str) -> None:
    if len(content) != file.size:
        verb = "is cut off:" if len(content) < file.size else "is too long:"
        raise DataError(f"{path!r} {verb} {len(content):,} bytes, expected {file.size:,}; {advice}.")
    found = Checksum(file.sha256).digest_of(np.frombuffer(content, np.uint8))
    if found != file.sha256:
        raise DataError(f"{path!r} is not {file.name}: sha256 {found}, expected {file.sha256}; {advice}.")


def _unzip(content: bytes, file: DataFile, path: str, advice: str) -> bytes:
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        # One byte more than expected is enough to know that there are too many.
        plain = unzip.decompress(content, file.size + 1)
    except zlib.error as error:
        raise DataError(f"{path!r} is damaged: {error}; {advice}.") from error
    if len(plain) == file.size and not unzip.eof:
        raise DataError(f"{path!r} is cut off: its checksum is missing; {advice}.")
    return plain
