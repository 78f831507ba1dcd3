"""Files that were hashed: who reads slices of one need not read all of it first, as long as it is the same.

seen/<device>-<inode>   in the cache: size, time of the last change, kind of hash, hash
"""

from contextlib import suppress
from pathlib import Path

import numpy as np

from converters._files import InputFile, blamed_on
from converters._writing import CHUNK
from zoo import _cache
from zoo._checksum import Checksum
from zoo._errors import WeightsError

Identity = tuple[int, int, int, int]


def problem_of(path: Path, checksum: Checksum, *, verify: bool) -> tuple[str | None, str, Identity]:
    """How a file differs from what it should be, if it does; its hash; and which file it was.

    Args:
        path: Of the file.
        checksum: What it should be.
        verify: Whether it is hashed even if that was done before.

    Raises:
        CheckpointError: it cannot be read.
    """
    with blamed_on(path):
        file = InputFile(path)
        digest = None if verify else _recalled(file.identity, checksum)
        if digest is None:
            digest = _hashed(path, file, checksum, verify)
        return checksum.problem(digest, file.size), digest, file.identity


def _hashed(path: Path, file: InputFile, checksum: Checksum, verify: bool) -> str:
    """The hash of all bytes; of several processes that ask at once, one reads them."""
    try:
        directory = _cache.made(_cache.root() / "seen")
    except WeightsError:  # nowhere to remember it
        return _digest(file, checksum)
    with _cache.turn(directory, str(path)):
        digest = None if verify else _recalled(file.identity, checksum)
        if digest is None:
            digest = _digest(file, checksum)
            device, inode, *rest = file.identity
            with suppress(OSError):  # it is hashed again, then
                text = " ".join(map(str, (*rest, _kind(checksum), digest)))
                (directory / f"{device}-{inode}").write_text(f"{text}\n")
        return digest


def _digest(file: InputFile, checksum: Checksum) -> str:
    """In pieces, since the file may be larger than the memory."""
    hasher, buffer = checksum.hasher(), np.empty(min(CHUNK, file.size), np.uint8)
    for start in range(0, file.size, CHUNK):
        part = buffer[: file.size - start]
        file.read_into(start, part)
        hasher.update(part.data)
    found: str = hasher.hexdigest()
    return found


def _recalled(identity: Identity, checksum: Checksum) -> str | None:
    device, inode, size, changed = identity
    try:
        text = (_cache.root() / "seen" / f"{device}-{inode}").read_text()
        *found, kind, digest = text.split()
    except (OSError, ValueError):
        return None
    same = found == [str(size), str(changed)] and kind == _kind(checksum)
    return digest if same and len(digest) == checksum.hasher().digest_size * 2 else None


def _kind(checksum: Checksum) -> str:
    return "git" if checksum.git else "sha256"
