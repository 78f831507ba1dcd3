"""Files that come from elsewhere when they are wanted, or from a cache, and are checked at every use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from converters.errors import CheckpointError
from converters.io import aligned_read
from zoo import _progress
from zoo._errors import WeightsError
from zoo._hub import cache, hash_records
from zoo._hub.checksum import Checksum
from zoo._hub.download import Request, download
from zoo._hub.errors import NetworkError


@dataclass(frozen=True)
class Download:
    """What a download needs.

    Attributes:
        request: Says where to ask, before each attempt.
        checksum: What the file must be.
    """

    request: Callable[[], Request]
    checksum: Checksum


class Source(Protocol):
    """One file elsewhere."""

    @property
    def address(self) -> str:
        """Where it is, for people; without secrets."""

    def checksum(self) -> Checksum:
        """What it must be, as far as that is known."""

    def directory(self) -> Path:
        """Where its bytes are kept; made where it is missing."""

    def blob_path(self) -> Path | None:
        """The file of its bytes there, by the name of their hash; None while that is not known."""

    def cached(self) -> Path | None:
        """Where it is read; None while it has to be fetched."""

    def prepare(self) -> Download | None:
        """How it is fetched; None where its bytes turned out to be here."""

    def keep(self, file: BinaryIO, found: Checksum) -> None:
        """Puts the fetched file into the cache."""

    def remove(self) -> None:
        """Takes it out of the cache."""


def read(source: Source) -> tuple[np.ndarray, Path]:
    """The file's bytes, checked, and where they were read; a damaged one is fetched again, once.

    Raises:
        WeightsError: it cannot be had, or is not what it should be.
    """
    problem = ""
    for _ in range(3):  # once more than needed, for what other processes do to the cache meanwhile
        path = source.cached() or _fetch(source, problem)
        content = _content(path)
        if content is None:
            continue
        found = source.checksum().problem_of(content)
        if not found:
            return content, path
        problem = f"{str(path)!r} {found}"
        if _is_as_named(source, path, content):
            raise _manifest_differs(source, problem)
        _quarantine(source, problem)
    raise _hopeless(source, problem)


def _manifest_differs(source: Source, problem: str) -> WeightsError:
    return WeightsError(f"{problem}: it is what {source.address} gives, and the manifest differs.")


def _hopeless(source: Source, problem: str) -> WeightsError:
    return WeightsError(f"{problem or source.address + ' disappears from the cache'}, again; check the disk.")


def ensure(source: Source, *, verify: bool) -> tuple[Path, hash_records.Identity]:
    """The same for a file whose bytes are not wanted yet: where it is, and which file that is.

    Args:
        source: Where it comes from.
        verify: Whether it is hashed even if nothing has changed since it was.
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
    """What is in the cache: the file, or what became of it."""
    path, home = source.cached(), source.blob_path()
    if path is None and home and cache.quarantined(home).exists():
        return cache.quarantined(home)
    return path


def remove(source: Source) -> None:
    """Takes a file out of the cache, and what is known of it."""
    home = source.blob_path()
    source.remove()
    cache.unpin(source.address)
    if home:
        cache.quarantined(home).unlink(missing_ok=True)


def _fetch(source: Source, problem: str) -> Path:
    """Where the file is, after it was fetched by this process or another one."""
    try:
        with cache.lock(source.directory(), source.address):
            path = source.cached()
            if path is None:
                _download(source)
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
            f"{_before(source, problem)}{source.address} cannot be kept: {error}; "
            "ZOO_CACHE and HF_HOME choose other places."
        ) from error


def _before(source: Source, problem: str) -> str:
    """What was found in the cache, now or earlier."""
    home = source.blob_path()
    if not problem and home and cache.quarantined(home).exists():
        problem = f"{str(cache.quarantined(home))!r} is damaged"
    return f"{problem}; " if problem else ""


def _download(source: Source) -> None:
    plan = source.prepare()
    if plan is None:
        return
    label = source.address.rpartition("/")[2]
    with cache.partial_file(source.directory(), source.address) as file, _progress.bytes_bar(label) as report:
        digest = download(plan.request, file, plan.checksum, report)
        found = Checksum(digest, file.tell(), plan.checksum.git)
        source.keep(file, found)
    home = source.blob_path()
    if home:
        cache.quarantined(home).unlink(missing_ok=True)


def _content(path: Path) -> np.ndarray | None:
    """The file's bytes; None where another process has removed it."""
    try:
        return aligned_read(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _is_as_named(source: Source, path: Path, content: np.ndarray) -> bool:
    """Whether the file is intact, since the cache names it by its hash."""
    return path.resolve().name == source.checksum().digest_of(content)


def _quarantine(source: Source, problem: str) -> None:
    """Puts a damaged file aside, unless another process has mended it meanwhile."""
    try:
        with cache.lock(source.directory(), source.address):
            path = source.cached()
            found = hash_records.hash_file(path, source.checksum()) if path else None
            if path and found and source.checksum().problem(*found):
                path = path.parent / path.readlink() if path.is_symlink() else path
                path.rename(cache.quarantined(path))
    except (CheckpointError, OSError) as error:
        raise WeightsError(f"{problem}, and cannot be put aside: {error}.") from error
