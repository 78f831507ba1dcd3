"""Weights of a model: finds their file and reads its arrays, once size and hash are right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from converters.checkpoints import Checkpoint, read_buffer, read_checkpoint
from converters.errors import CheckpointError
from converters.formats import INDEX_SUFFIX, hashes_of, shards_of
from zoo._errors import WeightsError
from zoo._hub import hash_records, remote_file
from zoo._hub.checksum import Checksum, read_hashed
from zoo._hub.hub_file import HubFile
from zoo._hub.remote_file import Source
from zoo._hub.url_file import UrlFile
from zoo._loading.located import Located
from zoo._registry import packaged
from zoo._registry.entry import UNATTESTED


class Access(NamedTuple):
    """Options for reading weights.

    Attributes:
        sliced: If true, arrays are read from the file later, each in slices.
        verify: If true, a file that is read in slices is hashed even if it has not changed since it was.
    """

    sliced: bool = False
    verify: bool = False


WHOLE = Access()


def source(located: Located) -> Source | None:
    """Returns where the weights are fetched from; None for a file that is on this machine.

    Raises:
        WeightsError: the model has none.
    """
    name, weights = located.entry.name, located.weights
    if weights.url:
        return UrlFile(name, weights)
    return HubFile(name=name, weights=weights, token=located.token) if weights.repo else None


def locate(located: Located) -> Path:
    """Returns the file with the weights: in the cache, in the model's directory, or bundled.

    Raises:
        WeightsError: there are none, or they cannot be fetched.
    """
    elsewhere = source(located)
    if elsewhere is not None:
        return elsewhere.cached() or _fetched(located, elsewhere)[1]
    file = str(located.weights.file)
    return located.directory / file if located.directory else packaged.weights_path(file)


def read(
    located: Located, access: Access = WHOLE, meanwhile: Callable[[], object] | None = None
) -> Checkpoint:
    """Opens the weights' file; its arrays have their names there.

    Unless they are read later, in slices, the very bytes that were hashed hold the arrays; those of a
    safetensors file are views of them.

    Args:
        located: The model.
        access: Options.
        meanwhile: Called while the bytes are hashed, if they are.

    Raises:
        WeightsError: there is no such file, its size or hash is wrong, or it is not a checkpoint.
    """
    name, weights = located.entry.name, located.weights
    # With nothing to compare the bytes with, they need not be in memory at once either.
    unattested = located.directory is not None and weights.sha256 == UNATTESTED
    try:
        if access.sliced or unattested or str(weights.file).endswith(INDEX_SUFFIX):
            return _in_files(located, access)
        content, path = content_of(located, meanwhile)
        file = Path(weights.file or str(weights.url).partition("?")[0]).name
        return read_buffer(path, content, name=file)
    except CheckpointError as error:
        advice = f"; `zoo fetch --remove {name}` takes it out of the cache" if weights.url else ""
        raise WeightsError(f"{name!r}: {error}{advice}") from error


def _in_files(located: Located, access: Access) -> Checkpoint:
    """Opens the files to be read later; hashed the first time, and again if a file has changed since."""
    name = located.entry.name
    path, known = _secured(located, verify=access.verify)
    checkpoint = read_checkpoint(path)
    for file in checkpoint.files():
        if access.sliced and file.path.name not in known:
            hash_records.compute_once(file, "crc", lambda: _summed(checkpoint), verify=access.verify)
        if known.get(file.path.name, file.identity) != file.identity:
            raise WeightsError(f"{name!r}: {str(file.path)!r} changed while it was read; try again.")
    return checkpoint


def _summed(checkpoint: Checkpoint) -> str:
    checkpoint.verify()
    return "right"


def _secured(located: Located, *, verify: bool) -> tuple[Path, dict[str, hash_records.Identity]]:
    """Returns the file, or an index whose shards lie with it, and which of them were hashed, by name."""
    weights, elsewhere = located.weights, source(located)
    if elsewhere is not None:
        path, known = _ensured(located, elsewhere, verify=verify)
        parts = {
            str(shard.weights.file): _ensured(located, shard, verify=verify)[1] for shard in shards(located)
        }
        return path, {path.name: known, **parts}
    path = locate(located)
    checksums = {} if weights.sha256 == UNATTESTED else {path.name: Checksum.of(weights)}
    if path.name.endswith(INDEX_SUFFIX):
        checksums |= {name: Checksum(digest) for name, digest in hashes_of(path).items()}
    return path, {
        name: _checked(path.with_name(name), checksum, verify=verify) for name, checksum in checksums.items()
    }


def _checked(path: Path, checksum: Checksum, *, verify: bool) -> hash_records.Identity:
    problem, _, identity = hash_records.problem_of(path, checksum, verify=verify)
    if problem:
        raise WeightsError(f"{str(path)!r} {problem}; get it again.")
    return identity


def shards(located: Located) -> list[HubFile]:
    """Returns where the shards are fetched from, if the weights are an index that is in the cache already."""
    index, weights = source(located), located.weights
    path = index.cached() if index and str(weights.file).endswith(INDEX_SUFFIX) else None
    parts = sorted(shards_of(path)) if path else []
    return [
        HubFile(
            name=located.entry.name,
            weights=replace(weights, file=part, sha256=UNATTESTED, size=None),
            token=located.token,
        )
        for part in parts
    ]


def content_of(located: Located, meanwhile: Callable[[], object] | None = None) -> tuple[np.ndarray, Path]:
    """Returns the file's bytes, checked, and where they were read."""
    elsewhere = source(located)
    if elsewhere is not None:
        return _fetched(located, elsewhere, meanwhile)
    path, checksum = locate(located), Checksum.of(located.weights)
    content, digest = read_hashed(path, checksum, meanwhile)
    problem = checksum.problem(digest, content.size)
    if problem:
        raise WeightsError(f"{str(path)!r} {problem}; get it again.")
    return content, path


def _fetched(
    located: Located, elsewhere: Source, meanwhile: Callable[[], object] | None = None
) -> tuple[np.ndarray, Path]:
    with _named(located):
        return remote_file.read(elsewhere, meanwhile)


def _ensured(located: Located, elsewhere: Source, *, verify: bool) -> tuple[Path, hash_records.Identity]:
    with _named(located):
        return remote_file.ensure(elsewhere, verify=verify)


@contextmanager
def _named(located: Located) -> Iterator[None]:
    """Prefixes errors with the model's name."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{located.entry.name!r}: {error}") from error.__cause__
