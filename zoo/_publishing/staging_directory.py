"""A temporary directory in the cache; leftovers of killed processes are removed at the next use."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock

from converters.io import exit_on_signals
from zoo._errors import PublishError
from zoo._hub import cache, retry

LOCK = ".lock"  # in a directory, held while it is used


@contextmanager
def directory() -> Iterator[Path]:
    """Yields a new directory, removed after the block; removes those of killed processes first.

    Raises:
        PublishError: the directory cannot be created.
    """
    home = cache.ensure_directory(cache.root() / "staging")
    path = home / secrets.token_hex(8)
    with exit_on_signals():
        try:
            lock = _prepared(home, path)
            try:
                yield path
            finally:
                cache.release(lock)
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _prepared(home: Path, path: Path) -> BaseFileLock:
    """Makes the new directory and returns its lock."""
    try:
        # So that no new directory is taken for an orphan before its own lock is set.
        turn = cache.acquire(home.with_name(f".{home.name}.lock"), retry.LIMITS.lock_timeout)
        try:
            for orphan in home.iterdir():
                _remove_orphan(orphan)
            path.mkdir(mode=0o700)
            return cache.acquire(path / LOCK, timeout=0)
        finally:
            cache.release(turn)
    except OSError as error:
        raise PublishError(
            f"{str(home)!r} cannot be written to: {cache.reason(error)}; ZOO_CACHE chooses another place."
        ) from error


def _remove_orphan(path: Path) -> None:
    with suppress(OSError):  # its lock is held (Timeout is one, too), or it is another user's or no directory
        lock = cache.acquire(path / LOCK, timeout=0)
        # Where the file system has no locks, no other process's can be seen.
        if lock.is_locked:
            cache.release(lock)
            shutil.rmtree(path, ignore_errors=True)
