"""Direct writes, and files without them."""

import errno
import os

import numpy as np
import pytest

import converters
from converters.formats import safetensors
from converters.io.direct import BLOCK, DirectFile
from converters.io.files import aligned_read
from converters.io.memory import LARGE, PAGE, aligned_empty

SHAPES = {"a": (700, 1024), "b": (1030, 513), "c": (3,), "d": (1, 2, 600, 2048), "e": (1025, 1024)}


def test_whole_blocks_at_whole_blocks_are_written(tmp_path):
    path, size = tmp_path / "file", LARGE + BLOCK
    path.write_bytes(b"x" * 3 * size)
    data = aligned_empty(size + 1, PAGE)
    data[...] = 7
    file = DirectFile(path)
    if file.write(data, BLOCK):  # there are file systems that take none
        assert path.read_bytes() == b"x" * BLOCK + b"\7" * size + b"x" * (2 * size - BLOCK)
    for odd, offset in ((data, 5), (data[: LARGE - 1], 0)):
        assert file.write(odd, offset) == 0
    file.close()
    assert file.write(data, 0) == 0


@pytest.fixture(params=["no flag", "not opened", "not written"])
def refused(request, monkeypatch):
    """A system or a file system without direct writes."""
    opened, written = os.open, os.pwrite
    direct: set[int] = set()

    def open_(path, flags, *args, **kwargs):
        if request.param == "not opened" and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        fd = opened(path, flags, *args, **kwargs)
        direct.difference_update({fd})
        direct.update({fd} if flags & getattr(os, "O_DIRECT", 0) else ())
        return fd

    def pwrite(fd, data, offset):
        if request.param == "not written" and fd in direct:
            raise OSError(errno.EINVAL, "Invalid argument")
        return written(fd, data, offset)

    if request.param == "no flag":
        monkeypatch.delattr(os, "O_DIRECT")
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "pwrite", pwrite)


def written(path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.random(shape, np.float32).swapaxes(0, -1) for name, shape in SHAPES.items()}
    safetensors.write(path, arrays)
    found = safetensors.parse(aligned_read(path))
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_files_are_whole_with_direct_writes(tmp_path):
    written(tmp_path / "x")


@pytest.mark.usefixtures("refused")
def test_files_are_whole_without_direct_writes(tmp_path):
    written(tmp_path / "x")


def test_writes_that_stop_halfway_are_continued(tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, data[: len(data) // 2 + 1], offset))
    written(tmp_path / "x")


def test_systems_without_writes_at_positions_will_do(tmp_path, monkeypatch):
    for name in ("O_DIRECT", "pwrite"):  # as on Windows
        monkeypatch.delattr(os, name)
    written(tmp_path / "x")
    array = np.arange(5_000_000, dtype=np.int16).reshape(1000, -1).T
    converters.write_checkpoint({"a": array, "b": array[:3]}, tmp_path / "a.pth")
    found = converters.read_checkpoint(tmp_path / "a.pth")
    assert np.array_equal(found["a"], array)
    assert np.array_equal(found["b"], array[:3])


def test_pieces_of_unaligned_memory_that_are_written_at_once_are_not_mixed_up(tmp_path):
    memory = np.random.default_rng(0).integers(0, 256, 96 * LARGE + 8, np.uint8)
    start = 8 if memory.ctypes.data % PAGE == 0 else 0  # not at the start of a page
    array = memory[start : start + 96 * LARGE]
    assert array.ctypes.data % PAGE
    converters.write_checkpoint({"a": array}, tmp_path / "a.safetensors")
    assert np.array_equal(converters.read_checkpoint(tmp_path / "a.safetensors")["a"], array)
