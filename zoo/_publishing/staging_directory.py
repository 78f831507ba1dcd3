"""A temporary directory in the cache; leftovers of killed processes are removed at the next use."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.io import exit_on_signals
from zoo._errors import PublishError
from zoo._hub import cache


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
                os.close(lock)
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _prepared(home: Path, path: Path) -> int:
    """Creates the directory, and returns its locked descriptor."""
    try:
        with _held(home):
            for orphan in home.iterdir():
                _remove_orphan(orphan)
            path.mkdir(mode=0o700)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            _lock(lock, wait=False)
            return lock
    except OSError as error:
        raise PublishError(
            f"{str(path)!r} cannot be made: {error}; ZOO_CACHE chooses another place."
        ) from error


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Locks the parent, so that no new directory is taken for an orphan before its own lock is set."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(fd, wait=True)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, *, wait: bool) -> bool:
    """Returns whether it is locked; without locks in the file system, true only with `wait`."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return error.errno in cache.UNSUPPORTED and wait
    return True


def _remove_orphan(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        if _lock(fd, wait=False):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)
