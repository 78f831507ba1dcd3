"""The zoo's own cache, ZOO_CACHE: files by the hash of their content, and what is known of addresses.

    files/<sha256>          what came from plain addresses; files from the Hub are in its own cache
    files/<sha256>.damaged  what became of it, until it is fetched again
    pins/<key>              the full hash of what an address gave, where the manifest has only a part of it
    locks/<key>             while it is being fetched

A key is the hash of an address. Locks are the operating system's: none outlives its process.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from converters._files import orderly_exit, sync_directory
from zoo import _patience
from zoo._checksum import Checksum
from zoo._errors import WeightsError

# What network file systems without locks say; there, several may fetch the same, which does no harm.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def root() -> Path:
    """Where the cache is."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("ZOO_CACHE") or Path(base, "flax-zoo")).expanduser()


def made(directory: Path, advice: str = "set ZOO_CACHE to a directory that you can write to") -> Path:
    """The directory, made where it is missing.

    Raises:
        WeightsError: it cannot be.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{str(directory)!r}: {error.strerror}; {advice}.") from error
    return directory


def key(address: str) -> str:
    """The address as a file name."""
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def known(address: str, checksum: Checksum) -> Checksum:
    """The checksum with what an earlier fetch has found out."""
    if checksum.complete:
        return checksum
    try:
        kind, digest, size = (root() / "pins" / key(address)).read_text().split()
        found = Checksum(digest, checksum.size or int(size), kind == "git")
    except (OSError, ValueError):
        return checksum
    return found if found.complete and digest.startswith(checksum.digest) else checksum


def pin(address: str, found: Checksum) -> None:
    """Remembers what an address gave; for whoever has the turn."""
    path = made(root() / "pins") / key(address)
    with incoming(path.parent, address) as file:
        file.write(f"{'git' if found.git else 'sha256'} {found.digest} {found.size}\n".encode())
        keep(file, path)


@contextmanager
def turn(address: str) -> Iterator[None]:
    """One process, and one thread of it, at a time; the others wait.

    Raises:
        WeightsError: another one does not come to an end.
    """
    path = made(root() / "locks") / key(address)
    end = time.monotonic() + _patience.LIMITS.turn
    while (lock := _try_lock(path)) is None:
        if time.monotonic() > end:
            raise WeightsError(
                f"another process has been fetching {address} for too long; see {str(path)!r}."
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)  # while it is locked: who waits for it sees that it is gone
        os.close(lock)


def _try_lock(path: Path) -> int | None:
    """The locked file; None where it is another's."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        if error.errno in NO_LOCKS:
            return fd
        os.close(fd)
        raise
    os.close(fd)
    return None


@contextmanager
def incoming(directory: Path, address: str) -> Iterator[BinaryIO]:
    """A file for what arrives, gone after the block unless `keep` has given it a name.

    Those that killed processes left behind are removed first; whoever has the turn is alone.
    """
    stem = f".{key(address)}."
    for orphan in directory.glob(f"{stem}*"):
        orphan.unlink(missing_ok=True)
    path = directory / f"{stem}{secrets.token_hex(4)}"
    with orderly_exit():
        try:
            with open(path, "xb") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)


def keep(file: BinaryIO, target: Path) -> None:
    """Gives the file its name, on the disk."""
    file.flush()
    os.fsync(file.fileno())
    os.replace(file.name, target)
    sync_directory(target.parent)


def damaged(path: Path) -> Path:
    """Where a damaged file is put."""
    return path.with_name(f"{path.name}.damaged")
