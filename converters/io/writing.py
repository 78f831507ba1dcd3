"""Writing, as both formats share it: describes the arrays, then puts each into its place."""

import math
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from converters.errors import CheckpointError
from converters.io.direct import BLOCK, DirectFile
from converters.io.memory import Memory, aligned_empty

CHUNK = 1 << 23  # bytes copied, summed and written at a time: they stay in the cache in between
WRITERS = 2  # pieces that are written at once, which disks take sooner than one after the other
TURN = threading.Lock()  # of one thread at a time, to write at a position
BACKGROUND = 1 << 27  # a larger array is written before the next is asked for, which bounds the memory


class ArraySpec(NamedTuple):
    """An array to come."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def describe(arrays: Mapping[str, ArrayLike]) -> dict[str, ArraySpec]:
    """Describes the arrays; does not read those of a mapping with `.shapes` and `.dtypes`.

    Raises:
        CheckpointError: a name is no text that a file can hold.
    """
    for name in arrays:
        if not isinstance(name, str) or not _encodable(name):
            raise CheckpointError(f"the name {name!r} cannot be stored; names are Unicode strings")
    shapes, dtypes = getattr(arrays, "shapes", None), getattr(arrays, "dtypes", None)
    if shapes is not None and dtypes is not None:
        return {name: ArraySpec(native(dtypes[name]), tuple(shapes[name])) for name in arrays}
    return {name: _describe(value) for name, value in arrays.items()}


def _describe(value: ArrayLike) -> ArraySpec:
    """An array of NumPy's or jax's says what it is; anything else has to become one first."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
        array = np.asarray(value)
        dtype, shape = array.dtype, array.shape
    return ArraySpec(native(dtype), shape)


def native(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The dtype in this machine's byte order."""
    return np.dtype(dtype).newbyteorder("=")


def _encodable(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


class ArrayWriter:
    """The places of arrays in a file; they arrive in any order, and are written meanwhile.

    One thread puts the bytes in order, a piece at a time, while another writes the piece before.
    `checksums` has the CRC-32 of every array's bytes at the end, where they are asked for.
    """

    def __init__(
        self,
        file: BinaryIO,
        arrays: Mapping[str, ArraySpec],
        offsets: Mapping[str, int],
        *,
        summed: bool = False,
    ) -> None:
        self.checksums: dict[str, int] = {}
        self._fd, self._direct = file.fileno(), DirectFile(file.name)
        self._arrays, self._offsets, self._summed = arrays, offsets, summed
        self._missing = dict.fromkeys(arrays)
        self._memory = Memory()
        self._ordering, self._writing = ThreadPoolExecutor(1), ThreadPoolExecutor(WRITERS)
        self._pending: Future[None] | None = None

    def put(self, name: str, value: ArrayLike) -> None:
        """Takes the array of that name, once.

        Raises:
            CheckpointError: it is not what was described.
        """
        array = np.asarray(value)
        found, expected = ArraySpec(native(array.dtype), array.shape), self._arrays.get(name)
        if name not in self._missing or found != expected:
            raise CheckpointError(f"got {name!r} as {found}, expected {expected} and each name once")
        del self._missing[name]
        self._finish()
        self._pending = self._ordering.submit(self._order, name, array)
        if array.nbytes > BACKGROUND:
            self._finish()

    def _order(self, name: str, array: np.ndarray) -> None:
        offset, checksum = self._offsets[name], 0
        written: deque[Future[None]] = deque()
        for chunk in chunks(array, self._memory.empty):
            if self._summed:
                checksum = zlib.crc32(chunk.data, checksum)
            if len(written) == WRITERS:
                written.popleft().result()
            written.append(self._writing.submit(self._write, chunk, offset))
            offset += chunk.size
        for each in written:
            each.result()
        self.checksums[name] = checksum

    def _write(self, chunk: np.ndarray, offset: int) -> None:
        while chunk.size:
            count = self._direct.write(chunk, offset) or write_at(self._fd, chunk.data, offset)
            chunk, offset = chunk[count:], offset + count

    def _finish(self) -> None:
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._ordering.shutdown()
            self._writing.shutdown()
            self._direct.close()
        if error is None and self._missing:
            raise CheckpointError(
                f"{len(self._missing)} arrays never came: {', '.join(list(self._missing)[:5])}"
            )


def write_at(fd: int, data: "bytes | memoryview[int]", offset: int) -> int:
    """Writes at a position of a file, whose own position stays; returns how many bytes were written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, offset)
    # Windows has no writes at positions; several threads may want one.
    with TURN:
        before = os.lseek(fd, 0, os.SEEK_CUR)
        try:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)
        finally:
            os.lseek(fd, before, os.SEEK_SET)


def chunks(array: np.ndarray, empty: Callable[[int], np.ndarray] = aligned_empty) -> Iterator[np.ndarray]:
    """The array's little-endian bytes in C order, in pieces; a strided one needs memory for each."""
    if array.nbytes <= CHUNK:
        yield _bytes(contiguous(array, empty))
    elif array.flags.c_contiguous and array.dtype.isnative:
        view = _bytes(array)
        for start in range(0, view.size, CHUNK):
            yield view[start : start + CHUNK]
    else:
        rows = CHUNK // array[0].nbytes or 1
        # Whole blocks, where so many rows make them.
        rows -= rows % min(rows, BLOCK // math.gcd(BLOCK, array[0].nbytes))
        for start in range(0, len(array), rows):
            part = array[start : start + rows]
            yield from chunks(part if part.nbytes <= CHUNK else part[0], empty)


def contiguous(array: np.ndarray, empty: Callable[[int], np.ndarray] = aligned_empty) -> np.ndarray:
    """The array in C order and this machine's byte order; much faster than NumPy on transposed ones."""
    if array.flags.c_contiguous and array.dtype.isnative:
        return array
    result = empty(array.nbytes).view(native(array.dtype)).reshape(array.shape)
    if array.ndim < 2:
        result[...] = array
        return result
    # NumPy follows the result's order, in which each item of a transposed array lies in another cache line;
    # a few columns at a time use every line that was fetched.
    for start in range(0, array.shape[-1], 16):
        result[..., start : start + 16] = array[..., start : start + 16]
    return result


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)
