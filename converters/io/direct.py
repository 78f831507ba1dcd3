"""Writes that go past the page cache."""

import os
import threading

import numpy as np

from converters.io.memory import LARGE, PAGE, aligned_empty

BLOCK = 4096  # bytes; file systems take no part of one


class DirectFile:
    """A file opened once more for direct writes: no page of the cache has to be found, copied to and synced.

    Several threads may write. Where the system or the file system has no such thing, nothing is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = -1
        self._taken = True  # whether the file system takes direct writes, as far as one knows
        self._own = threading.local()  # each thread's memory at the start of a page
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        except (AttributeError, OSError):
            self.close()

    def write(self, data: np.ndarray, offset: int) -> int:
        """Returns how many of the bytes (uint8) were written; the others have to be written as usual."""
        count = data.size // BLOCK * BLOCK
        # A little is sooner in the cache, and synced together with the rest.
        if self._fd < 0 or not self._taken or count < LARGE or offset % BLOCK:
            return 0
        if data.ctypes.data % PAGE:
            data, count = self._aligned(data[:count]), min(count, LARGE)
        try:
            return os.pwrite(self._fd, data[:count].data, offset)
        except OSError:
            # It may have another block size; and what is wrong with the disk, the usual write will say.
            # Not closed: another thread may be about to write, and the number be another file's by then.
            self._taken = False
            return 0

    def _aligned(self, data: np.ndarray) -> np.ndarray:
        """The first LARGE bytes, at most, at the start of a page."""
        if not hasattr(self._own, "memory"):
            self._own.memory = aligned_empty(LARGE, PAGE)
        memory: np.ndarray = self._own.memory
        count = min(data.size, LARGE)
        memory[:count] = data[:count]
        return memory

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
