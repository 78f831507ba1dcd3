"""Files on disk: regular ones, read at positions, and new ones that appear whole or not at all."""

import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET, FileIO, RawIOBase
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.io.memory import Memory, aligned_empty
from converters.io.writing import CHUNK

# Windows has O_BINARY, without which it translates the ends of lines, and no O_NONBLOCK.
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def named_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the file's name before the message of whatever goes wrong inside."""
    with system_errors(path):
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(f"{os.fspath(path)!r}: {error}") from error.__cause__


@contextmanager
def system_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the file's name before the message of the system's errors inside, and of no others."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{os.fspath(path)!r}: {error.strerror or error}") from error


class InputFile:
    """A regular file, open for reads at positions until nobody refers to it any more.

    Never mapped: a mapped file that another process truncates ends this process, and what others write to it
    after it was verified would be read. benchmarks/README.md says what it would gain.

    Attributes:
        memory: For what is read.
        identity: Device, inode, size and time of the last change: another file, or other bytes, has another.
    """

    def __init__(self, path: str | os.PathLike[str], memory: Memory | None = None) -> None:
        self.path, self.memory = Path(path), memory or Memory()
        if "\0" in str(path):
            raise CheckpointError("has a zero byte, which no file's name has")
        # Asked before opening, since to open a pipe or a device can hang or have effects of its own.
        require_regular(os.stat(self.path).st_mode)
        self._fd = os.open(self.path, FLAGS)
        self._turn = threading.Lock()
        weakref.finalize(self, os.close, self._fd)
        status = os.fstat(self._fd)
        require_regular(status.st_mode)
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`; for small parts, whose bounds the caller has checked."""
        buffer = np.empty(count, np.uint8)
        self.read_into(offset, buffer)
        return buffer.tobytes()

    def view(self, offset: int, count: int) -> np.ndarray:
        """Returns `count` bytes from `offset` as a uint8 array, whose bounds the caller has checked."""
        buffer = self.memory.empty(count)
        self.read_into(offset, buffer)
        return buffer

    def read_into(self, offset: int, buffer: np.ndarray) -> None:
        """Fills the contiguous uint8 array from `offset` on."""
        view = buffer.data
        while len(view):
            # Linux moves at most 2 GiB at a time.
            count = self._read_some(offset, view)
            if not count:
                raise CheckpointError("became shorter while it was read; try again when nobody writes it")
            view, offset = view[count:], offset + count
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != self.identity[2:]:
            raise CheckpointError("changed while it was read; try again when nobody writes it")

    def _read_some(self, offset: int, view: memoryview) -> int:
        """Reads at most as much as the view holds, and returns how many bytes."""
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [view], offset)
        # Windows has no reads at positions; several threads may want one.
        with self._turn, FileIO(self._fd, closefd=False) as file:
            file.seek(offset)
            return file.readinto(view)


class BufferFile(InputFile):
    """A file's bytes in memory, behind the same interface."""

    def __init__(self, path: str | os.PathLike[str], buffer: np.ndarray) -> None:
        self.path, self.memory = Path(path), Memory()
        self.size, self._buffer = buffer.size, buffer
        self.identity = (0, 0, buffer.size, 0)

    def view(self, offset: int, count: int) -> np.ndarray:
        """Returns these bytes of the buffer itself."""
        return self._buffer[offset : offset + count]

    def read_into(self, offset: int, buffer: np.ndarray) -> None:
        """Fills the contiguous uint8 array from `offset` on."""
        part = self._buffer[offset : offset + buffer.size]
        if part.size < buffer.size:
            raise CheckpointError("is cut off; download it again")
        buffer[...] = part


class InputStream(RawIOBase):
    """A file from its beginning on, for libraries that read one piece after another."""

    def __init__(self, file: InputFile) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._file.size}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = max(min(len(buffer), self._file.size - self._position), 0)
        self._file.read_into(self._position, np.frombuffer(buffer, np.uint8)[:count])
        self._position += count
        return count


def require_regular(mode: int) -> None:
    """Refuses the mode of anything but a regular file."""
    if not stat.S_ISREG(mode):
        kind = next((kind for test, kind in KINDS if test(mode)), "no regular file")
        raise CheckpointError(f"is {kind}, expected a regular file")


def aligned_read(
    path: str | os.PathLike[str], follow: Callable[[memoryview], object] | None = None
) -> np.ndarray:
    """The file's bytes, at a 64-byte boundary.

    Args:
        path: The file.
        follow: Takes the bytes in pieces, in their order, as soon as they are read.

    Raises:
        CheckpointError: it is not a regular file, or cannot be read.
    """
    with named_errors(path):
        file = InputFile(path)
        buffer = aligned_empty(file.size)
        step = CHUNK if follow else max(file.size, 1)
        for start in range(0, file.size, step):
            part = buffer[start : start + step]
            file.read_into(start, part)
            if follow:
                follow(part.data)
        return buffer
