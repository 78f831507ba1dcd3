"""Expected size and hash of a file; the hash may be unknown, or only a prefix."""

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from converters.io import CHUNK, InputFile, aligned_read, named_errors
from zoo._registry.entry import UNATTESTED, Weights

SHA256, GIT = 64, 40  # hexadecimal digits


@dataclass(frozen=True)
class Checksum:
    """A file's size and hash.

    Attributes:
        digest: A sha256 or its first digits; empty if unknown.
        size: Size in bytes; None if unknown.
        git: If true, the digest is git's id of a blob instead, which is the Hub's hash of small files.
    """

    digest: str
    size: int | None = None
    git: bool = False

    @classmethod
    def of(cls, weights: Weights) -> Self:
        """Returns the checksum that an entry states."""
        return cls("" if weights.sha256 == UNATTESTED else weights.sha256, weights.size)

    @property
    def complete(self) -> bool:
        """Returns whether the digest is a full hash, so that no other bytes can match it."""
        return len(self.digest) == (GIT if self.git else SHA256)

    def hasher(self) -> Any:
        """Returns a hashlib object that takes the bytes in pieces."""
        if self.git:
            # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
            return hashlib.sha1(b"blob %d\0" % (self.size or 0), usedforsecurity=False)
        return hashlib.sha256()

    def problem(self, digest: str, size: int) -> str | None:
        """Describes the difference, or returns None; the size tells a truncated file from other bytes."""
        if self.size is not None and size != self.size:
            return f"has {size:,} bytes, expected {self.size:,}"
        if not digest.startswith(self.digest):
            return f"has {'git hash' if self.git else 'sha256'} {digest}, expected {self.digest}"
        return None

    def problem_of(self, content: np.ndarray) -> str | None:
        """Describes how a file of these bytes (uint8) differs, or returns None."""
        return self.problem(self.digest_of(content), content.size)

    def digest_of(self, content: np.ndarray) -> str:
        """Returns the hash of these bytes (uint8)."""
        hasher = self.hasher()
        hasher.update(content.data)
        found: str = hasher.hexdigest()
        return found


def read_hashed(
    path: Path, checksum: Checksum, meanwhile: Callable[[], object] | None = None
) -> tuple[np.ndarray, str]:
    """Returns a file's bytes and their hash, of the checksum's kind.

    Reading is faster than hashing, which another thread does, and ends later.

    Args:
        path: The file.
        checksum: Its kind of hash counts.
        meanwhile: Called between the end of reading and that of hashing.

    Raises:
        CheckpointError: it cannot be read.
    """
    hasher = checksum.hasher()
    with ThreadPoolExecutor(1) as thread:
        content = aligned_read(path, lambda part: thread.submit(hasher.update, part))
        if meanwhile:
            meanwhile()
    return content, str(hasher.hexdigest())


def hash_file(file: InputFile, checksum: Checksum) -> str:
    """Returns a file's hash, of the checksum's kind; in pieces, since it may be larger than the memory."""
    hasher = checksum.hasher()
    buffers = [np.empty(min(CHUNK, file.size), np.uint8) for _ in range(2)]
    hashed: Future[None] | None = None
    with ThreadPoolExecutor(1) as thread:
        for start in range(0, file.size, CHUNK):
            part = buffers[start // CHUNK % 2][: file.size - start]
            file.read_into(start, part)
            if hashed:
                hashed.result()  # of the other buffer, into which the next piece is read
            hashed = thread.submit(hasher.update, part.data)
    return str(hasher.hexdigest())


def checksum_of(path: Path) -> Checksum:
    """Returns the sha256 and the size of a file.

    Raises:
        CheckpointError: it cannot be read.
    """
    with named_errors(path):
        file = InputFile(path)
        return Checksum(hash_file(file, Checksum("")), file.size)
