"""The zoo's own cache, ZOO_CACHE: files by the hash of their content, and records about addresses.

    files/<sha256>          files from plain addresses; files from the Hub are in its own cache
    pins/<key>              the full hash of a downloaded file, where the manifest has only a prefix
    commits/<key>           the commit of a repository, where the manifest has none
    seen/<device>-<inode>   the state of files that are read by slices at the time they were hashed
    <data set>/<file>       files of a data set, as its mirrors give them
    compiled/               programs that XLA has compiled; JAX's own files

A key is the hash of an address. In the directory of a file, in either cache, there may be:

    .<key>.lock             during its download: a lock of the operating system, which ends with its process
    .<key>.<version>.part   the bytes that have arrived; the next download of that version goes on there
    <sha256>.damaged        a damaged copy, until the file is downloaded again
"""

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import BaseFileLock, FileLock, Timeout

from converters.io import exit_on_signals, sync_directory
from zoo._errors import WeightsError
from zoo._hub import retry
from zoo._hub.checksum import Checksum
from zoo._hub.place import root as root
from zoo._hub.settings import COMMIT

# What network file systems without locks say; there, several may fetch the same, which does no harm.
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
WORTH = 1 << 20  # bytes; of smaller parts nothing is left
LIFETIME = 7 * 24 * 3600  # seconds that a part waits for the download to go on
LEFT = re.compile(r"\.([0-9a-f]{32})\.(lock|[0-9a-f]{8}\.part)")


def ensure_directory(
    directory: Path, advice: str = "set ZOO_CACHE to a directory that you can write to"
) -> Path:
    """Creates the directory if it is missing, and returns it.

    Raises:
        WeightsError: it cannot be created.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{str(directory)!r}: {error.strerror}; {advice}.") from error
    return directory


def reason(error: Exception) -> str:
    """Returns why a file cannot be kept; an operating system's error without the path, which is a part's."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def key(address: str) -> str:
    """Returns the file name that stands for an address."""
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def pinned(address: str, checksum: Checksum) -> Checksum:
    """Returns the checksum, completed by the pin of an earlier download if there is one."""
    if checksum.complete:
        return checksum
    try:
        kind, digest, size = (root() / "pins" / key(address)).read_text().split()
        found = Checksum(digest, checksum.size or int(size), kind == "git")
    except (OSError, ValueError):
        return checksum
    return found if found.complete and digest.startswith(checksum.digest) else checksum


def pin(address: str, found: Checksum) -> None:
    """Records the full hash of an address's file; the caller holds the lock."""
    kind = "git" if found.git else "sha256"
    # As good as none if it is cut off: then the file is fetched again.
    (ensure_directory(root() / "pins") / key(address)).write_text(f"{kind} {found.digest} {found.size}\n")


def unpin(address: str) -> None:
    """Removes the address's pin."""
    (root() / "pins" / key(address)).unlink(missing_ok=True)


def pinned_commit(repo: str) -> str | None:
    """Returns the commit that a repository is pinned to, if it is."""
    try:
        found = _commit_path(repo).read_text()
    except (OSError, ValueError):
        return None
    return found if COMMIT.fullmatch(found) else None


def pin_commit(repo: str, commit: str) -> None:
    """Records the commit that all files of a repository are taken from."""
    if pinned_commit(repo) != commit:
        ensure_directory(_commit_path(repo).parent)
        _commit_path(repo).write_text(commit)


def unpin_commit(repo: str) -> None:
    """Removes a repository's pin."""
    _commit_path(repo).unlink(missing_ok=True)


def _commit_path(repo: str) -> Path:
    return root() / "commits" / key(repo)


@contextmanager
def lock(directory: Path, address: str) -> Iterator[bool]:
    """Locks an address for one process and thread at a time; the others wait.

    What killed processes left in the directory, and nobody came back to, is removed first.

    Yields:
        Whether it is locked; there are file systems that have no locks.

    Raises:
        WeightsError: another process holds the lock for too long.
    """
    path = _lock_path(directory, key(address))
    try:
        lock = acquire(path, retry.LIMITS.lock_timeout)
    except Timeout:
        raise WeightsError(
            f"another process has been fetching {address} for too long; see {str(path)!r}."
        ) from None
    try:
        if lock.is_locked:
            sweep(directory, key(address))
        yield lock.is_locked
    finally:
        release(lock)


def _lock_path(directory: Path, key: str) -> Path:
    return directory / f".{key}.lock"


def acquire(path: Path, timeout: float) -> BaseFileLock:
    """Returns the lock of a file, made where it is missing: held, but for a file system that has no locks.

    Raises:
        Timeout: another process or thread holds it for more than `timeout` seconds; 0 for one attempt.
    """
    lock = FileLock(path, timeout=timeout, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        path.unlink(missing_ok=True)
    return lock


def release(lock: BaseFileLock) -> None:
    """Releases a lock and removes its file, if it is held."""
    if lock.is_locked:
        # While it is locked: who waits for it sees that it is gone. Windows refuses, and the library does it.
        with suppress(FileNotFoundError, PermissionError):
            os.unlink(lock.lock_file)
        lock.release()


def sweep(directory: Path, own: str = "") -> None:
    """Removes parts that are too small or too old, of `own` and of every key that nobody is downloading."""
    if own:
        _remove_parts(directory, own)
    for other in {found[1] for path in directory.iterdir() if (found := LEFT.fullmatch(path.name))} - {own}:
        with suppress(OSError):  # it is held (Timeout is one, too), or another user's
            lock = acquire(_lock_path(directory, other), timeout=0)
            if lock.is_locked:
                _remove_parts(directory, other)
            release(lock)


def _remove_parts(directory: Path, key: str) -> None:
    for part in directory.glob(f".{key}.*.part"):
        with suppress(OSError):  # it is gone, or another user's
            found = part.stat()
            if found.st_size < WORTH or found.st_mtime < time.time() - LIFETIME:
                part.unlink()


def parts(directory: Path, address: str) -> list[Path]:
    """Returns the parts of an address's file that interrupted downloads left."""
    return [*directory.glob(f".{key(address)}.*.part")]


@contextmanager
def partial_file(directory: Path, address: str, version: str = "") -> Iterator[BinaryIO]:
    """Yields the file for a download, which may hold the first bytes from an earlier one of the same version.

    The caller holds the lock. Unless `keep` has renamed the file, it stays for the next time if that is worth
    it, and is removed where the disk is full.

    Args:
        directory: Where it is.
        address: The address that is downloaded.
        version: Text that other bytes at the address would not have; empty: nothing is left.
    """
    path = directory / f".{key(address)}.{key(version)[:8]}.part"
    if not version or (path.exists() and not os.access(path, os.W_OK)):  # another user's
        path, version = directory / f".{key(address)}.{secrets.token_hex(4)}.part", ""
    with exit_on_signals():
        try:
            with open(path, "r+b" if path.exists() else "x+b") as file:
                yield file
        except OSError:
            version = ""
            raise
        finally:
            if path.exists() and not (version and path.stat().st_size >= WORTH):
                path.unlink(missing_ok=True)


def keep(file: BinaryIO, target: Path) -> None:
    """Syncs the file to the disk and renames it to the target."""
    file.flush()
    os.fsync(file.fileno())
    os.replace(file.name, target)
    sync_directory(target.parent)


def quarantined(path: Path) -> Path:
    """Returns the path that a damaged file is moved to."""
    return path.with_name(f"{path.name}.damaged")
