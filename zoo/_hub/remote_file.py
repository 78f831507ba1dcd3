"""Remote files: downloaded on demand, cached, and verified at every use."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from converters.errors import CheckpointError
from zoo import _progress
from zoo._errors import WeightsError
from zoo._hub import cache, hash_records
from zoo._hub.checksum import Checksum, read_hashed
from zoo._hub.download import Request, download
from zoo._hub.errors import NetworkError

REVISION = re.compile("@[0-9a-f]{40}(?=: )")


@dataclass(frozen=True)
class Download:
    """The inputs of a download.

    Attributes:
        request: Called before each attempt, for the address to use.
        checksum: Expected size and hash.
    """

    request: Callable[[], Request]
    checksum: Checksum


class Source(Protocol):
    """A remote file and its place in a cache."""

    @property
    def address(self) -> str:
        """The file's address for messages, without secrets."""

    def checksum(self) -> Checksum:
        """Returns the expected size and hash, which may be incomplete."""

    def directory(self) -> Path:
        """Returns the directory that keeps the file's bytes, created if missing."""

    def blob_path(self) -> Path | None:
        """Returns the path of the bytes, named by their hash; None while the hash is unknown."""

    def cached(self) -> Path | None:
        """Returns the path to read the file from; None if it is not cached."""

    def prepare(self) -> Download | None:
        """Prepares the download; returns None if the bytes turn out to be cached already."""

    def keep(self, file: BinaryIO, found: Checksum) -> None:
        """Moves the downloaded file into the cache."""

    def remove(self) -> None:
        """Removes the file from the cache."""


def read(source: Source, meanwhile: Callable[[], object] | None = None) -> tuple[np.ndarray, Path]:
    """Reads and verifies the file's bytes, and returns them with their path; downloads a damaged file again.

    Args:
        source: The remote file.
        meanwhile: Called while the bytes are hashed.

    Raises:
        WeightsError: the file cannot be downloaded, or does not match its checksum.
    """
    problem = ""
    for _ in range(3):  # once more than needed, for what other processes do to the cache meanwhile
        path = source.cached() or _fetch(source, problem)
        hashed = _content(path, source.checksum(), meanwhile)
        if hashed is None:
            continue
        content, digest = hashed
        found = source.checksum().problem(digest, content.size)
        if not found:
            return content, path
        problem = f"{str(path)!r} {found}"
        if path.resolve().name == digest:  # the cache names a file by its hash: it is intact
            raise _manifest_differs(source, problem)
        _quarantine(source, problem)
    raise _hopeless(source, problem)


def _manifest_differs(source: Source, problem: str) -> WeightsError:
    return WeightsError(
        f"{problem}: the file is intact, so {source.address} serves another one, or the manifest is wrong."
    )


def _hopeless(source: Source, problem: str) -> WeightsError:
    return WeightsError(f"{problem or source.address + ' disappears from the cache'}, again; check the disk.")


def ensure(source: Source, *, verify: bool) -> tuple[Path, hash_records.Identity]:
    """Makes sure that the file is cached and verified, without reading it into memory.

    Args:
        source: The remote file.
        verify: If true, hashes it even if it has not changed since the last time.

    Returns:
        The file's path, and the identity of the file that was verified.
    """
    problem = ""
    for _ in range(3):
        path = source.cached() or _fetch(source, problem)
        try:
            found, digest, identity = hash_records.problem_of(path, source.checksum(), verify=verify)
        except CheckpointError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                continue
            raise
        if not found:
            return path, identity
        problem = f"{str(path)!r} {found}"
        if path.resolve().name == digest:
            raise _manifest_differs(source, problem)
        _quarantine(source, problem)
    raise _hopeless(source, problem)


def cached_path(source: Source) -> Path | None:
    """Returns the cached file's path, or that of its damaged copy; None if there is neither."""
    path, home = source.cached(), source.blob_path()
    if path is None and home and cache.quarantined(home).exists():
        return cache.quarantined(home)
    return path


def remove(source: Source) -> None:
    """Removes a file, its pin, its damaged copy and what an interrupted download left from the cache."""
    home = source.blob_path()
    source.remove()
    cache.unpin(source.address)
    if home:
        cache.quarantined(home).unlink(missing_ok=True)
    for part in parts(source):
        part.unlink(missing_ok=True)


def parts(source: Source) -> list[Path]:
    """Returns what interrupted downloads of the file left."""
    return cache.parts(source.directory(), source.address)


def _fetch(source: Source, problem: str) -> Path:
    """Downloads the file unless another process already did, and returns its path."""
    try:
        with cache.lock(source.directory(), source.address) as locked:
            path = source.cached()
            if path is None:
                _download(source, resumable=locked)
                path = source.cached()
        if path is None:
            raise WeightsError(f"{source.address} was fetched, and is not in the cache; check the disk.")
        return path
    except NetworkError as trouble:
        raise WeightsError(
            f"{_before(source, problem)}{source.address} cannot be fetched: {trouble}."
        ) from None
    except (CheckpointError, OSError) as error:
        raise WeightsError(
            f"{_before(source, problem)}{source.address} cannot be kept in {str(source.directory())!r}: "
            f"{cache.reason(error)}; ZOO_CACHE and HF_HOME choose other places."
        ) from error


def _before(source: Source, problem: str) -> str:
    """Returns the start of an error message: the damage found in the cache, now or earlier."""
    home = source.blob_path()
    if not problem and home and cache.quarantined(home).exists():
        problem = f"{str(cache.quarantined(home))!r} is damaged"
    return f"{problem}; " if problem else ""


def _download(source: Source, *, resumable: bool) -> None:
    plan = source.prepare()
    if plan is None:
        return
    label = REVISION.sub("", source.address.rpartition("/")[2])
    # Whatever an earlier part is of, the whole has to have the hash.
    version = plan.checksum.digest if resumable else ""
    with (
        cache.partial_file(source.directory(), source.address, version) as file,
        _progress.bytes_bar(label) as report,
    ):
        digest = download(plan.request, file, plan.checksum, report)
        found = Checksum(digest, file.tell(), plan.checksum.git)
        source.keep(file, found)
    home = source.blob_path()
    if home:
        cache.quarantined(home).unlink(missing_ok=True)


def _content(
    path: Path, checksum: Checksum, meanwhile: Callable[[], object] | None
) -> tuple[np.ndarray, str] | None:
    """Reads and hashes the file's bytes; None if another process has removed it."""
    try:
        return read_hashed(path, checksum, meanwhile)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _quarantine(source: Source, problem: str) -> None:
    """Moves a damaged file aside, unless another process has replaced it meanwhile."""
    try:
        with cache.lock(source.directory(), source.address):
            path = source.cached()
            found = hash_records.hash_existing(path, source.checksum()) if path else None
            if path and found and source.checksum().problem(*found):
                path = path.parent / path.readlink() if path.is_symlink() else path
                path.rename(cache.quarantined(path))
    except (CheckpointError, OSError) as error:
        raise WeightsError(f"{problem}, and cannot be put aside: {cache.reason(error)}.") from error
