"""Hashes of files that are read meanwhile."""

import hashlib

import numpy as np
import pytest

from converters.io import CHUNK, InputFile
from zoo._hub.checksum import Checksum, hash_file, read_hashed


@pytest.mark.parametrize("size", [0, 5, 2 * CHUNK, 3 * CHUNK + 7])
def test_pieces_are_hashed_in_their_order(tmp_path, size):
    path, called = tmp_path / "file", []
    content = np.arange(size // 8 + 1, dtype=np.uint64).view(np.uint8)[:size]
    content.tofile(path)
    expected = hashlib.sha256(content).hexdigest()
    read, digest = read_hashed(path, Checksum(""), lambda: called.append(1))
    assert np.array_equal(read, content)
    assert digest == hash_file(InputFile(path), Checksum("")) == expected
    assert called
