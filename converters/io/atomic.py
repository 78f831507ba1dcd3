"""New files that appear whole or not at all."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from converters.errors import CheckpointError
from converters.io.files import named_errors, require_regular, system_errors
from converters.io.signals import exit_on_signals


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = False, size: int = 0) -> Iterator[BinaryIO]:
    """A file to write, which gets its name when the block ends well and leaves nothing behind otherwise.

    The temporary file is in the same directory, so that the last step is a rename; it and the directory are
    synced, so that a power cut leaves the old file or the new one. A SIGTERM or SIGHUP that
    nobody else handles unwinds as Ctrl-C does.

    Args:
        path: Where the file goes.
        overwrite: If true, replaces a file there, instead of refusing.
        size: Bytes about to be written: a disk without room for them is refused before the first.
    """
    with named_errors(path):
        _check_target(path, overwrite, size)
    # Not derived from the name, which may be as long as names can be.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with exit_on_signals():
        try:
            # What the block raises itself may be about another file, the one it reads.
            with system_errors(path), open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with named_errors(path):
                if overwrite:
                    os.replace(temporary, path)
                else:
                    _move_to_new(temporary, path)
                sync_directory(path.parent)
        finally:
            with suppress(OSError):  # there is none, or the file system has become read-only
                temporary.unlink()


def _check_target(path: Path, overwrite: bool, size: int) -> None:
    if not path.parent.is_dir():
        raise CheckpointError(f"there is no directory {str(path.parent)!r}; create it first")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        pass
    else:
        if not overwrite:
            raise CheckpointError("exists already; choose another name, or replace it with overwrite=True")
        if not stat.S_ISLNK(mode):
            require_regular(mode)
    check_free_space(path.parent, size)


def check_free_space(directory: Path, size: int) -> None:
    """Refuses bytes that the directory's disk has no room for."""
    free = shutil.disk_usage(directory).free
    if size > free:
        raise CheckpointError(f"needs {size:,} bytes, the disk has {free:,} free; make room first")


def _move_to_new(temporary: Path, path: Path) -> None:
    """Gives the file its name unless somebody else has taken it meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise CheckpointError("was created by somebody else meanwhile; choose another name") from None
    except OSError:  # a file system without hard links
        os.replace(temporary, path)


def sync_directory(path: Path) -> None:
    """Flushes the names in a directory to the disk."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows opens none
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
