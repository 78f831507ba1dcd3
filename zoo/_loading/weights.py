"""An entry's weights: where they are, and their arrays once size and hash are right."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from converters.checkpoints import Checkpoint, read_buffer, read_checkpoint
from converters.errors import CheckpointError
from converters.formats import INDEX_SUFFIX, hashes_of, shards_of
from converters.io import aligned_read
from zoo._errors import WeightsError
from zoo._hub import hash_records, remote_file
from zoo._hub.checksum import Checksum
from zoo._hub.hub_file import HubFile
from zoo._hub.remote_file import Source
from zoo._hub.settings import Token
from zoo._hub.url_file import UrlFile
from zoo._registry import packaged
from zoo._registry.entry import UNATTESTED, Entry, Weights


class Access(NamedTuple):
    """How weights are read.

    Attributes:
        directory: That the entry is of, if it is of one.
        token: For the Hub.
        sliced: Whether arrays are read from the file later, each in slices.
        verify: Whether what is read in slices is hashed even if nothing has changed since it was.
    """

    directory: Path | None = None
    token: Token = None
    sliced: bool = False
    verify: bool = False


def source(entry: Entry, token: Token = None) -> Source | None:
    """Where an entry's weights are fetched from; None for a file that is here.

    Raises:
        WeightsError: it has none.
    """
    weights = _weights(entry)
    if weights.url:
        return UrlFile(entry.name, weights)
    return HubFile(entry.name, weights, token) if weights.repo else None


def locate(entry: Entry, directory: Path | None = None, *, token: Token = None) -> Path:
    """The file with the entry's weights: fetched, in the directory that it was read from, or bundled.

    Raises:
        WeightsError: there are none, or they cannot be had.
    """
    elsewhere = source(entry, token)
    if elsewhere is not None:
        return elsewhere.cached() or _obtained(elsewhere, entry)[1]
    file = str(_weights(entry).file)
    return directory / file if directory else packaged.weights_path(file)


def read(entry: Entry, access: Access) -> Checkpoint:
    """Reads an entry's file; its arrays have their names there.

    Where they are not read later, in slices, they are made of the very bytes that were hashed; those of a
    safetensors file are views of them.

    Raises:
        WeightsError: no such file, another size or hash, or not a checkpoint.
    """
    weights = _weights(entry)
    # With nothing to compare the bytes with, they need not be in memory at once either.
    unattested = access.directory is not None and weights.sha256 == UNATTESTED
    try:
        if access.sliced or unattested or str(weights.file).endswith(INDEX_SUFFIX):
            return _in_files(entry, access)
        content, path = content_of(entry, access.directory, token=access.token)
        name = Path(weights.file or str(weights.url).partition("?")[0]).name
        return read_buffer(path, content, name=name)
    except CheckpointError as error:
        advice = f"; `zoo fetch --remove {entry.name}` takes it out of the cache" if weights.url else ""
        raise WeightsError(f"{entry.name!r}: {error}{advice}") from error


def _in_files(entry: Entry, access: Access) -> Checkpoint:
    """The same, to be read later; hashed the first time, and again where a file has changed since."""
    path, known = _secured(entry, access)
    checkpoint = read_checkpoint(path)
    for file in checkpoint.files():
        if access.sliced and file.path.name not in known:
            hash_records.compute_once(file, "crc", lambda: _summed(checkpoint), verify=access.verify)
        if known.get(file.path.name, file.identity) != file.identity:
            raise WeightsError(f"{entry.name!r}: {str(file.path)!r} changed while it was read; try again.")
    return checkpoint


def _summed(checkpoint: Checkpoint) -> str:
    checkpoint.verify()
    return "right"


def _secured(entry: Entry, access: Access) -> tuple[Path, dict[str, hash_records.Identity]]:
    """The file, or an index with its shards beside it; and which of them were hashed, by name."""
    directory, token, _, verify = access
    weights, elsewhere = _weights(entry), source(entry, token)
    if elsewhere is not None:
        path, known = _secure(elsewhere, entry, verify)
        parts = {str(shard.weights.file): _secure(shard, entry, verify)[1] for shard in shards(entry, token)}
        return path, {path.name: known, **parts}
    path = locate(entry, directory)
    checksums = {} if weights.sha256 == UNATTESTED else {path.name: Checksum.of(weights)}
    if path.name.endswith(INDEX_SUFFIX):
        checksums |= {name: Checksum(digest) for name, digest in hashes_of(path).items()}
    return path, {
        name: _checked(path.with_name(name), checksum, verify) for name, checksum in checksums.items()
    }


def _checked(path: Path, checksum: Checksum, verify: bool) -> hash_records.Identity:
    problem, _, identity = hash_records.problem_of(path, checksum, verify=verify)
    if problem:
        raise WeightsError(f"{str(path)!r} {problem}; get it again.")
    return identity


def shards(entry: Entry, token: Token = None) -> list[HubFile]:
    """Where the shards are fetched from, if the entry names an index, and once that is here."""
    index = source(entry, token)
    path = index.cached() if index and str(_weights(entry).file).endswith(INDEX_SUFFIX) else None
    parts = sorted(shards_of(path)) if path else []
    return [
        HubFile(entry.name, replace(_weights(entry), file=part, sha256=UNATTESTED, size=None), token)
        for part in parts
    ]


def content_of(
    entry: Entry, directory: Path | None = None, *, token: Token = None
) -> tuple[np.ndarray, Path]:
    """The file's bytes, checked, and where they were read."""
    elsewhere = source(entry, token)
    if elsewhere is not None:
        return _obtained(elsewhere, entry)
    path = locate(entry, directory)
    content = aligned_read(path)
    problem = Checksum.of(_weights(entry)).problem_of(content)
    if problem:
        raise WeightsError(f"{str(path)!r} {problem}; get it again.")
    return content, path


def _weights(entry: Entry) -> Weights:
    if entry.weights is None:
        raise WeightsError(f"{entry.name!r} has no published weights; use pretrained=False.")
    return entry.weights


def _obtained(elsewhere: Source, entry: Entry) -> tuple[np.ndarray, Path]:
    with _named(entry):
        return remote_file.read(elsewhere)


def _secure(elsewhere: Source, entry: Entry, verify: bool) -> tuple[Path, hash_records.Identity]:
    with _named(entry):
        return remote_file.ensure(elsewhere, verify=verify)


@contextmanager
def _named(entry: Entry) -> Iterator[None]:
    """Says whose weights something is wrong with."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{entry.name!r}: {error}") from error.__cause__
