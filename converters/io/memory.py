"""Memory where others need it, used again: a new page costs more than what is read into it."""

import threading
import weakref

import numpy as np

CACHE_LINE = 64  # where jax takes memory over without a copy
PAGE = 4096  # where the disk does
LARGE = 1 << 20  # bytes; what is smaller, the allocator keeps itself


def aligned_empty(count: int, boundary: int = CACHE_LINE) -> np.ndarray:
    """Uninitialised bytes that start at a multiple of the boundary."""
    buffer = np.empty(count + boundary, np.uint8)
    start = -buffer.ctypes.data % boundary
    return buffer[start : start + count]


class Memory:
    """Uninitialised bytes, lent until the last array that is made of them has gone.

    What came back is kept for an equal request, as long as all of it is at most twice the largest.
    """

    def __init__(self) -> None:
        self._spare: list[np.ndarray] = []
        self._held = self._largest = 0  # bytes, of those lent and the spare ones; of one
        self._lock = threading.Lock()

    def empty(self, count: int) -> np.ndarray:
        """So many bytes, at the start of a page where they are many."""
        if count < LARGE:
            return aligned_empty(count)
        with self._lock:
            owner = self._take(count)
        # Views of views refer to the first array that owns its memory or is no view of an array: to this one.
        lent = np.frombuffer(owner.data, np.uint8)
        # The spare memory must not outlive the reader because of one array that somebody keeps.
        weakref.finalize(lent, _give_back, weakref.ref(self), owner).atexit = False
        return lent

    def _take(self, count: int) -> np.ndarray:
        for index, owner in enumerate(self._spare):
            if owner.size == count:
                return self._spare.pop(index)
        self._largest = max(self._largest, count)
        while self._spare and self._held + count > 2 * self._largest:
            self._held -= self._spare.pop(0).size
        self._held += count
        return aligned_empty(count, PAGE)


def _give_back(memory: "weakref.ref[Memory]", owner: np.ndarray) -> None:
    alive = memory()
    if alive:
        alive._spare.append(owner)
