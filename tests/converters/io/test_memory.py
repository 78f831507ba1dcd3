"""Memory that is lent, and comes back."""

import weakref

import numpy as np
import pytest

from converters import read_checkpoint, write_checkpoint
from converters.io.memory import LARGE, PAGE, Memory, aligned_empty


@pytest.mark.parametrize("count", [0, 1, 1000, LARGE])
@pytest.mark.parametrize("boundary", [64, PAGE])
def test_memory_starts_at_the_boundary(count, boundary):
    array = aligned_empty(count, boundary)
    assert array.nbytes == count
    assert not count or array.ctypes.data % boundary == 0


def test_memory_is_used_again_only_when_its_last_view_has_gone():
    memory = Memory()
    view = memory.empty(LARGE).view(np.float32).reshape(512, 512).T[1:, ::2]
    address = view.base.ctypes.data
    assert address % PAGE == 0
    assert memory.empty(LARGE).ctypes.data != address
    other = view[0]
    del view
    assert memory.empty(LARGE).ctypes.data != address
    del other
    again = [memory.empty(LARGE) for _ in range(3)]
    assert address in [array.ctypes.data for array in again]
    assert len({array.ctypes.data for array in again}) == 3


def test_spare_memory_is_at_most_twice_the_largest_with_what_is_lent():
    memory = Memory()
    sizes = np.random.default_rng(0).integers(1, 9, 200) * LARGE
    kept: list[np.ndarray] = []
    for index, size in enumerate(sizes.tolist()):
        kept = kept[-1:]
        kept.append(memory.empty(size))
        lent = sum(array.size for array in kept)
        spare = sum(array.size for array in memory._spare)
        assert memory._held == lent + spare <= 2 * sizes[: index + 1].max()


def test_one_kept_array_keeps_no_spare_memory():
    memory = Memory()
    kept, gone = memory.empty(LARGE), memory.empty(LARGE)
    del gone
    spare = weakref.ref(memory._spare[0])
    del memory
    assert spare() is None
    assert kept.size == LARGE


def test_tensors_of_one_checkpoint_have_memory_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {str(index): rng.random((600, 700), np.float32) for index in range(4)}
    for name in ("a.safetensors", "a.pth"):
        write_checkpoint(tensors, tmp_path / name)
        checkpoint = read_checkpoint(tmp_path / name)
        kept = dict(checkpoint)
        for _ in range(2):
            for index in tensors:
                checkpoint[index][...] = 0
        assert all(np.array_equal(kept[index], tensors[index]) for index in tensors)
