"""Weights as files: where an entry's are, and their arrays once the hash is right."""

import hashlib
import os
from pathlib import Path

import numpy as np

from converters import _safetensors
from converters._errors import CheckpointError
from converters._files import aligned_read, blamed_on
from zoo._entry import Entry, Weights
from zoo._errors import WeightsError
from zoo._manifest import UNATTESTED


def locate(entry: Entry, directory: Path | None = None) -> Path:
    """The file with the entry's weights: in the directory that it was read from, or among the bundled ones.

    Raises:
        WeightsError: there are none, or they are of a kind that this version does not read.
    """
    weights = entry.weights
    if weights is None:
        raise WeightsError(f"{entry.name!r} has no published weights; use pretrained=False.")
    if weights.file is None or weights.repo is not None:
        raise WeightsError(
            f"{entry.name!r} has its weights at {weights}; "
            "this version reads bundled files and directories only."
        )
    return (directory or Path(__file__).with_name("weights")) / weights.file


def read(entry: Entry, directory: Path | None = None) -> dict[str, np.ndarray]:
    """The arrays of an entry's safetensors file; views of one buffer, whose very bytes have the right hash.

    Raises:
        WeightsError: no such file, another size or hash, or not a safetensors file.
    """
    path = locate(entry, directory)
    try:
        buffer = aligned_read(path)
        if entry.weights:  # which locate has seen to
            _verify(path, buffer, entry.weights)
        with blamed_on(path):
            return _safetensors.parse(buffer)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def _verify(path: Path, buffer: np.ndarray, weights: Weights) -> None:
    # The size first: it tells a cut-off file from one with other contents.
    if weights.size is not None and buffer.size != weights.size:
        raise WeightsError(
            f"{os.fspath(path)!r} has {buffer.size:,} bytes, expected {weights.size:,}; get it again."
        )
    digest = hashlib.sha256(buffer.data).hexdigest()
    if weights.sha256 != UNATTESTED and not digest.startswith(weights.sha256):
        raise WeightsError(
            f"{os.fspath(path)!r} has sha256 {digest}, expected {weights.sha256}; get it again."
        )
