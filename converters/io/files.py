"""Files on disk: regular ones, read at positions, and new ones that appear whole or not at all."""

import gc
import os
import secrets
import shutil
import signal
import stat
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import numpy as np

from converters.errors import CheckpointError
from converters.io.memory import Memory, aligned_empty

KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def blamed_on(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the file's name before the message of whatever goes wrong inside."""
    with _system_errors(path):
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(f"{os.fspath(path)!r}: {error}") from error.__cause__


@contextmanager
def _system_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{os.fspath(path)!r}: {error.strerror or error}") from error


class InputFile:
    """A regular file, open for reads at positions until nobody refers to it any more.

    Never mapped: a mapped file that another process truncates ends this process.

    Attributes:
        memory: For what is read.
        identity: Device, inode, size and time of the last change: another file, or other bytes, has another.
    """

    def __init__(self, path: str | os.PathLike[str], memory: Memory | None = None) -> None:
        self.path, self.memory = Path(path), memory or Memory()
        if "\0" in str(path):
            raise CheckpointError("has a zero byte, which no file's name has")
        # Asked before opening, since to open a pipe or a device can hang or have effects of its own.
        _require_regular(os.stat(self.path).st_mode)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        status = os.fstat(self._fd)
        _require_regular(status.st_mode)
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`; for small parts, whose bounds the caller has checked."""
        buffer = np.empty(count, np.uint8)
        self.read_into(offset, buffer)
        return buffer.tobytes()

    def read_into(self, offset: int, buffer: np.ndarray) -> None:
        """Fills the contiguous uint8 array from `offset` on."""
        view = buffer.data
        while len(view):
            # Linux moves at most 2 GiB at a time.
            count = os.preadv(self._fd, [view], offset)
            if not count:
                raise CheckpointError("became shorter while it was read; try again when nobody writes it")
            view, offset = view[count:], offset + count
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != self.identity[2:]:
            raise CheckpointError("changed while it was read; try again when nobody writes it")


class BufferFile(InputFile):
    """A file's bytes in memory, behind the same interface."""

    def __init__(self, path: str | os.PathLike[str], buffer: np.ndarray) -> None:
        self.path, self.memory = Path(path), Memory()
        self.size, self._buffer = buffer.size, buffer
        self.identity = (0, 0, buffer.size, 0)

    def read_into(self, offset: int, buffer: np.ndarray) -> None:
        """Fills the contiguous uint8 array from `offset` on."""
        part = self._buffer[offset : offset + buffer.size]
        if part.size < buffer.size:
            raise CheckpointError("is cut off; download it again")
        buffer[...] = part


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((kind for test, kind in KINDS if test(mode)), "no regular file")
        raise CheckpointError(f"is {kind}, expected a regular file")


def aligned_read(path: str | os.PathLike[str]) -> np.ndarray:
    """The file's bytes, at a 64-byte boundary.

    Raises:
        CheckpointError: it is not a regular file, or cannot be read.
    """
    with blamed_on(path):
        file = InputFile(path)
        buffer = aligned_empty(file.size)
        file.read_into(0, buffer)
        return buffer


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = False, size: int = 0) -> Iterator[BinaryIO]:
    """A file to write, which gets its name when the block ends well and leaves nothing behind otherwise.

    The temporary file is in the same directory, so that the last step is a rename; it and the directory are
    synced, so that a power cut leaves the old file or the new one. A SIGTERM or SIGHUP that
    nobody else handles unwinds as Ctrl-C does.

    Args:
        path: Where the file goes.
        overwrite: Whether a file there is replaced, instead of refused.
        size: Bytes about to be written: a disk without room for them is refused before the first.
    """
    with blamed_on(path):
        _check_target(path, overwrite, size)
    # Not derived from the name, which may be as long as names can be.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with orderly_exit():
        try:
            # What the block raises itself may be about another file, the one it reads.
            with _system_errors(path), open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with blamed_on(path):
                if overwrite:
                    os.replace(temporary, path)
                else:
                    _move_to_new(temporary, path)
                sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _check_target(path: Path, overwrite: bool, size: int) -> None:
    if not path.parent.is_dir():
        raise CheckpointError(f"there is no directory {str(path.parent)!r}; create it first")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        pass
    else:
        if not overwrite:
            raise CheckpointError("exists already; choose another name, or ask to overwrite it")
        if not stat.S_ISLNK(mode):
            _require_regular(mode)
    check_room(path.parent, size)


def check_room(directory: Path, size: int) -> None:
    """Refuses bytes that the directory's disk has no room for."""
    free = shutil.disk_usage(directory).free
    if size > free:
        raise CheckpointError(f"needs {size:,} bytes, the disk has {free:,} free; make room first")


def _move_to_new(temporary: Path, path: Path) -> None:
    """Gives the file its name unless somebody else has taken it meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise CheckpointError("was created by somebody else meanwhile; choose another name") from None
    except OSError:  # a file system without hard links
        os.replace(temporary, path)


def sync_directory(path: Path) -> None:
    """Flushes the names in a directory to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def leave(number: int, frame: FrameType | None) -> None:
    """Handles a signal by an exception, so that files and locks are cleaned up."""
    if _is_ignored(frame):
        # A moment later, then.
        again = threading.Timer(0.01, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def _is_ignored(frame: FrameType | None) -> bool:
    """Whether Python would ignore an exception, as it does in what it calls to collect garbage."""
    codes = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None and not (frame.f_code in codes or _frees(frame)):
        frame = frame.f_back
    return frame is not None


def _frees(frame: FrameType) -> bool:
    """Whether it is called because an object goes: by itself, or by a collection of weak references."""
    weak = frame.f_globals.get("__name__") in ("weakref", "_weakrefset")
    return frame.f_code.co_name in ("__del__", *(("remove", "_remove") if weak else ()))


@contextmanager
def orderly_exit() -> Iterator[None]:
    """Turns the signals that end a process without cleaning up into SystemExit, as Ctrl-C is an exception."""
    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        # Only the main thread may set handlers, and a handler that the program chose stays.
        if threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
