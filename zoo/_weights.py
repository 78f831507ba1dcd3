"""An entry's weights: where they are, and their arrays once size and hash are right."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from converters import _formats, _safetensors
from converters._errors import CheckpointError
from converters._files import BufferFile, aligned_read, blamed_on
from converters._sharded import shards_of
from converters.checkpoints import read_buffer, read_checkpoint
from zoo._checksum import Checksum
from zoo._entry import Entry, Weights
from zoo._errors import WeightsError
from zoo._hub_cache import HubFile
from zoo._manifest import UNATTESTED
from zoo._sources import Source, obtain
from zoo._urls import Url

Token = str | bool | None
INDEX = ".index.json"


def source(entry: Entry, token: Token = None) -> Source | None:
    """Where an entry's weights are fetched from; None for a file that is here.

    Raises:
        WeightsError: it has none.
    """
    weights = _weights(entry)
    if weights.url:
        return Url(entry.name, weights)
    return HubFile(entry.name, weights, token) if weights.repo else None


def locate(entry: Entry, directory: Path | None = None, *, token: Token = None) -> Path:
    """The file with the entry's weights: fetched, in the directory that it was read from, or bundled.

    Raises:
        WeightsError: there are none, or they cannot be had.
    """
    elsewhere = source(entry, token)
    if elsewhere is not None:
        return elsewhere.cached() or _obtained(elsewhere, entry)[1]
    return (directory or Path(__file__).with_name("weights")) / str(_weights(entry).file)


def read(entry: Entry, directory: Path | None = None, *, token: Token = None) -> Mapping[str, np.ndarray]:
    """The arrays of an entry's file, by their names there.

    What was hashed are the very bytes that they are made of; a safetensors file's are views of them.

    Raises:
        WeightsError: no such file, another size or hash, or not a checkpoint.
    """
    weights = _weights(entry)
    try:
        if weights.file and weights.file.endswith(INDEX):
            return read_checkpoint(_with_shards(entry, directory, token))
        if directory is not None and weights.sha256 == UNATTESTED:
            # Nothing to compare the bytes with, so they need not be in memory at once.
            return read_checkpoint(locate(entry, directory))
        content, path = content_of(entry, directory, token=token)
        return _parse(weights, path, content)
    except CheckpointError as error:
        advice = f"; `zoo fetch --remove {entry.name}` takes it out of the cache" if weights.url else ""
        raise WeightsError(f"{entry.name!r}: {error}{advice}") from error


def _with_shards(entry: Entry, directory: Path | None, token: Token) -> Path:
    """The index, once its shards are beside it and were checked; they are then read tensor by tensor."""
    path = content_of(entry, directory, token=token)[1]
    for shard in shards(entry, token):
        _obtained(shard, entry)
    return path


def shards(entry: Entry, token: Token = None) -> list[Source]:
    """Where the shards are fetched from, if the entry names an index, and once that is here."""
    index = source(entry, token)
    path = index.cached() if index and str(_weights(entry).file).endswith(INDEX) else None
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
    try:
        return obtain(elsewhere)
    except WeightsError as error:
        raise WeightsError(f"{entry.name!r}: {error}") from error.__cause__


def _parse(weights: Weights, path: Path, content: np.ndarray) -> Mapping[str, np.ndarray]:
    """The file's tensors, if it is of the kind that its name in the manifest says."""
    name = Path(weights.file or str(weights.url).partition("?")[0]).name
    with blamed_on(path):
        if _formats.kind_of(BufferFile(name, content)) == _formats.SAFETENSORS:
            return _safetensors.parse(content)
    return read_buffer(path, content)
