"""Writes that go past the page cache."""

import os

import numpy as np

from converters._memory import LARGE, PAGE, aligned_empty

BLOCK = 4096  # bytes; file systems take no part of one


class DirectFile:
    """A file opened once more for direct writes: no page of the cache has to be found, copied to and synced.

    Where the system or the file system has no such thing, nothing is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = -1
        self._aligned = aligned_empty(LARGE, PAGE)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        except (AttributeError, OSError):
            self.close()

    def write(self, data: np.ndarray, offset: int) -> int:
        """How many of the bytes (uint8) were written; the others have to be written as usual."""
        count = data.size // BLOCK * BLOCK
        # A little is sooner in the cache, and synced together with the rest.
        if self._fd < 0 or count < LARGE or offset % BLOCK:
            return 0
        if data.ctypes.data % PAGE:
            count = min(count, self._aligned.size)
            self._aligned[:count] = data[:count]
            data = self._aligned
        try:
            return os.pwrite(self._fd, data[:count].data, offset)
        except OSError:
            # It may have another block size; and what is wrong with the disk, the usual write will say.
            self.close()
            return 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
