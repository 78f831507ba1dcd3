"""What the bytes of a file must be: how many, and their hash as far as anybody has published it."""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from zoo._registry.entry import UNATTESTED, Weights

SHA256, GIT = 64, 40  # hexadecimal digits


@dataclass(frozen=True)
class Checksum:
    """A file's size and hash.

    Attributes:
        digest: A sha256, or its first digits; empty where nothing is known.
        size: In bytes; None where nothing is known.
        git: Whether the digest is git's id of a blob instead, which is the Hub's hash of small files.
    """

    digest: str
    size: int | None = None
    git: bool = False

    @classmethod
    def of(cls, weights: Weights) -> Self:
        """What an entry says."""
        return cls("" if weights.sha256 == UNATTESTED else weights.sha256, weights.size)

    @property
    def complete(self) -> bool:
        """Whether other bytes of the same hash cannot be made."""
        return len(self.digest) == (GIT if self.git else SHA256)

    def hasher(self) -> Any:
        """What takes the bytes in pieces and tells their digest."""
        if self.git:
            # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
            return hashlib.sha1(b"blob %d\0" % (self.size or 0), usedforsecurity=False)
        return hashlib.sha256()

    def problem(self, digest: str, size: int) -> str | None:
        """How a file of that digest and size differs; the size tells a file cut off from other bytes."""
        if self.size is not None and size != self.size:
            return f"has {size:,} bytes, expected {self.size:,}"
        if not digest.startswith(self.digest):
            return f"has {'git hash' if self.git else 'sha256'} {digest}, expected {self.digest}"
        return None

    def problem_of(self, content: np.ndarray) -> str | None:
        """How a file of these bytes (uint8) differs."""
        return self.problem(self.digest_of(content), content.size)

    def digest_of(self, content: np.ndarray) -> str:
        """The hash of these bytes (uint8)."""
        hasher = self.hasher()
        hasher.update(content.data)
        found: str = hasher.hexdigest()
        return found
