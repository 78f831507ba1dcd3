"""Records of verified files, so that sliced reads hash a file again only after it changed.

seen/<device>-<inode>   in the cache: size, time of the last change, kind of hash, hash
"""

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from converters.errors import CheckpointError
from converters.io import InputFile, named_errors
from zoo._errors import WeightsError
from zoo._hub import cache
from zoo._hub import checksum as checksums
from zoo._hub.checksum import Checksum

Identity = tuple[int, int, int, int]


def problem_of(path: Path, checksum: Checksum, *, verify: bool) -> tuple[str | None, str, Identity]:
    """Returns how a file differs from its checksum (None if it matches), its hash, and its identity.

    Args:
        path: The file.
        checksum: Expected size and hash.
        verify: If true, hashes the file even if its hash is on record.

    Raises:
        CheckpointError: the file cannot be read.
    """
    with named_errors(path):
        file = InputFile(path)
        kind = "git" if checksum.git else "sha256"
        digest = compute_once(file, kind, lambda: checksums.hash_file(file, checksum), verify=verify)
        return checksum.problem(digest, file.size), digest, file.identity


def hash_existing(path: Path, checksum: Checksum) -> tuple[str, int] | None:
    """Hashes a file without recording it, and returns hash and size; None if the file is gone."""
    try:
        with named_errors(path):
            file = InputFile(path)
            return checksums.hash_file(file, checksum), file.size
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def compute_once(file: InputFile, kind: str, compute: Callable[[], str], *, verify: bool) -> str:
    """Returns `compute()` for this file, cached; of several processes only one computes it.

    Args:
        file: The file; after a change it counts as another one.
        kind: Name of the result, such as "sha256".
        compute: Computes the result, a string without spaces, from the file's bytes.
        verify: If true, computes it even if it is on record.
    """
    found = None if verify else _recalled(file.identity, kind)
    if found is not None:
        return found
    directory = cache.root() / "seen"
    with ExitStack() as stack:
        with suppress(WeightsError, OSError):  # a cache that may only be read: each for itself
            stack.enter_context(cache.lock(cache.ensure_directory(directory), str(file.path)))
        found = None if verify else _recalled(file.identity, kind)
        if found is None:
            found = compute()
            with suppress(OSError):  # it is computed again, then
                _remember(directory, file.identity, kind, found)
        return found


def _remember(directory: Path, identity: Identity, kind: str, found: str) -> None:
    device, inode, *rest = identity
    part = directory / f".{secrets.token_hex(8)}.tmp"
    part.write_text(" ".join(map(str, (*rest, kind, found))) + "\n")
    os.replace(part, directory / f"{device}-{inode}")


def _recalled(identity: Identity, kind: str) -> str | None:
    device, inode, size, changed = identity
    try:
        *found, word = (cache.root() / "seen" / f"{device}-{inode}").read_text().split()
    except (OSError, ValueError):
        return None
    return word if found == [str(size), str(changed), kind] else None
