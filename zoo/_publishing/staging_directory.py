"""A directory in the zoo's cache for a moment, which no killed process leaves behind for long."""

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
    """Gone after the block; those of killed processes are removed first.

    Raises:
        PublishError: it cannot be made.
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
    """The new directory's descriptor, which is locked."""
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
    """Locked, so that no new directory is taken for an orphan before its own lock is set."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(fd, wait=True)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, *, wait: bool) -> bool:
    """Whether it is locked; where the file system has no locks, no other process's can be seen."""
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
