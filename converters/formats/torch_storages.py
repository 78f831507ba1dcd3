"""Tensors read from the storages of a PyTorch file, whose places are known, and checksums if it has any."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from converters.errors import CheckpointError
from converters.formats.torch_pickle import MAX_EXPANDED, Storage, Tensor
from converters.io.dtypes import check_bools, check_shape
from converters.io.files import BufferFile, InputFile
from converters.io.slices import Extent
from converters.io.writing import CHUNK, contiguous


class Place(NamedTuple):
    """Where a storage's bytes are in the file."""

    offset: int
    nbytes: int
    crc: int | None = None
    file: InputFile | None = None  # if it is another one than that of the other storages
    packed: bool = False  # compressed or encrypted


class Storages:
    """The storages of one file, by key."""

    def __init__(self, file: InputFile, places: Mapping[str, Place], *, big_endian: bool = False) -> None:
        self._file, self._places, self._big_endian = file, places, big_endian
        self._verified: set[str] = set()

    def check(self, name: str, tensor: Tensor) -> None:
        """Refuses a tensor that is not within its storage, or whose storage is not what the pickle says."""
        storage, itemsize = tensor.storage, tensor.kind.numpy.itemsize
        place = self._place(storage)
        if place is None:
            raise CheckpointError(f"the data of {name!r} (storage {storage.key!r}) is missing in the file")
        if storage.start is None and storage.nbytes != place.nbytes:
            raise CheckpointError(
                f"storage {storage.key!r} of {name!r} has {place.nbytes:,} bytes, expected {storage.nbytes:,}"
            )
        if tensor.pending:
            raise CheckpointError(
                f"{name!r} is a lazy {tensor.pending} view; save its .resolve_{tensor.pending}()"
            )
        check_shape(name, tensor.shape)
        needed = (_first(tensor) + _span(tensor)) * itemsize if _span(tensor) else 0
        if needed > place.nbytes:
            raise CheckpointError(f"{name!r} needs {needed:,} bytes, its storage has {place.nbytes:,}")
        if tensor.nbytes > max(place.nbytes, MAX_EXPANDED):
            raise CheckpointError(
                f"{name!r} would repeat {place.nbytes:,} bytes to {tensor.nbytes:,}; save it unexpanded"
            )

    def _place(self, storage: Storage) -> Place | None:
        if storage.data is None:
            return self._places.get(storage.key)
        content = np.frombuffer(storage.data, np.uint8)
        return Place(0, content.size, file=BufferFile(self._file.path, content))

    def _known(self, storage: Storage) -> Place:
        place = self._place(storage)
        assert place is not None  # `check` was asked before
        return place

    def content(self, storage: Storage) -> bytes:
        """Returns the bytes of a storage."""
        place = self._known(storage)
        return (place.file or self._file).read(place.offset, place.nbytes)

    def read(self, name: str, tensor: Tensor) -> np.ndarray:
        """The tensor's array, C-contiguous in this machine's byte order, in memory of its own."""
        dtype, place = tensor.kind.numpy, self._known(tensor.storage)
        start, count = _first(tensor) * dtype.itemsize, _span(tensor) * dtype.itemsize
        buffer = self._file.memory.empty(count)
        if count == place.nbytes:
            self._compare(name, place, self._sum(place, buffer))
        else:
            self.verify(name, tensor.storage.key)
            (place.file or self._file).read_into(place.offset + start, buffer)
        if self._big_endian:
            # Complex numbers are two floats, each swapped on its own.
            width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
            buffer.view(f"u{width}").byteswap(inplace=True)
        strides = [stride * dtype.itemsize for stride in tensor.stride]
        view = np.ndarray(tensor.shape, dtype, buffer, strides=strides if count else None)
        array = contiguous(view)
        # Elements that a stride of 0 repeats must become independent of each other.
        return check_bools(name, array)

    def extent(self, name: str, tensor: Tensor) -> Extent | None:
        """Where the tensor is in the file; None where its bytes are in another order."""
        if self._big_endian:
            return None
        dtype, place = tensor.kind.numpy, self._known(tensor.storage)
        strides = tuple(stride * dtype.itemsize for stride in tensor.stride)
        start = place.offset + _first(tensor) * dtype.itemsize
        return Extent(place.file or self._file, name, start, dtype, tensor.shape, strides)

    def verify(self, name: str, key: str) -> None:
        """Sums a storage, once, of which only a part or nothing is wanted now."""
        place = self._places.get(key)
        if place is None or place.crc is None or key in self._verified:
            return
        crc, buffer = 0, self._file.memory.empty(min(CHUNK, place.nbytes))
        for start in range(0, place.nbytes, CHUNK):
            part = buffer[: place.nbytes - start]
            self._file.read_into(place.offset + start, part)
            crc = zlib.crc32(part.data, crc)
        self._compare(name, place, crc)
        self._verified.add(key)

    def _sum(self, place: Place, buffer: np.ndarray) -> int:
        """Fills the buffer, and sums it piece by piece while the pieces are in the cache."""
        crc = 0
        for start in range(0, buffer.size, CHUNK):
            part = buffer[start : start + CHUNK]
            (place.file or self._file).read_into(place.offset + start, part)
            crc = zlib.crc32(part.data, crc)
        return crc

    def _compare(self, name: str, place: Place, crc: int) -> None:
        if place.crc is not None and crc != place.crc:
            raise CheckpointError(
                f"the data of {name!r} is damaged (CRC-32 {crc:08x}, not {place.crc:08x}); download it again"
            )


def _first(tensor: Tensor) -> int:
    """The tensor's first element, counted from the start of the storage in the file."""
    return tensor.offset + (tensor.storage.start or 0)


def _span(tensor: Tensor) -> int:
    """Counts the elements of the storage between the tensor's first and last, both included."""
    if 0 in tensor.shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride, strict=True))
