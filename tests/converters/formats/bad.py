"""Shared parts of tests of bad input."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from converters import CheckpointError, read_checkpoint


def refused(path: Path, *words: str, key: str | None = None) -> str:
    """Asserts that the file is refused, in one line that names it and has the words."""
    with pytest.raises(CheckpointError) as caught:
        dict(read_checkpoint(path, key=key))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 2000
    assert message.startswith("'")
    assert repr(path.name)[1:-1][:100] in message
    for word in words:
        assert word in message, message
    return message


def saved(value: Any, **options: Any) -> bytes:
    """Returns the bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    """The members of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: Mapping[str, bytes], **options: Any) -> bytes:
    """A zip archive of members that are stored plainly."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def safetensors_bytes(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header, which may be any JSON value or raw bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data
