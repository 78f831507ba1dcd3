"""The safetensors reader and writer against the safetensors library, which defines what well-formed is."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from converters import read_checkpoint
from converters.errors import CheckpointError
from converters.formats import safetensors as _safetensors
from converters.io.dtypes import KINDS
from converters.io.files import InputFile, aligned_read
from converters.io.writing import contiguous

SHAPES = ((), (1,), (0,), (0, 3), (64,), (5, 7), (3, 4, 5), (2, 1, 3, 3))


def arrays_of_every_kind() -> dict[str, np.ndarray]:
    """Random bits, so that NaNs with payloads, denormals and negative zeros are among them."""
    rng = np.random.default_rng(0)
    arrays = {}
    for kind in KINDS:
        for shape in SHAPES:
            highest = 2 if kind.torch == "bool" else 256
            bits = rng.integers(0, highest, (*shape, kind.numpy.itemsize), np.uint8)
            arrays[f"{kind.torch}.{'x'.join(map(str, shape)) or 'scalar'}"] = bits.view(kind.numpy).reshape(
                shape
            )
    return arrays


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


@pytest.fixture
def every_kind(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    arrays = {name: array for name, array in arrays_of_every_kind().items() if array.dtype != np.complex128}
    _safetensors.write(tmp_path / "all.safetensors", arrays, metadata={"format": "pt", "ü": "é"})
    return tmp_path / "all.safetensors", arrays


def test_every_dtype_and_shape_comes_back_bit_for_bit(every_kind):
    path, arrays = every_kind
    views = _safetensors.parse(aligned_read(path))
    file = InputFile(path)
    header = _safetensors.open_header(file)
    assert views.keys() == header.keys() == arrays.keys()
    for name, array in arrays.items():
        copy = _safetensors.read_tensor(file, name, header[name])
        assert same_bits(array, views[name])
        assert same_bits(array, copy)
        assert copy.flags.c_contiguous
        assert copy.flags.writeable
        assert copy.ctypes.data % 64 == 0 or not copy.size


def test_the_library_reads_what_we_write(every_kind):
    path, arrays = every_kind
    tensors = safetensors.torch.load_file(path)
    assert tensors.keys() == arrays.keys()
    for name, tensor in tensors.items():
        assert tensor.flatten().view(torch.uint8).numpy().tobytes() == arrays[name].tobytes()
        assert tuple(tensor.shape) == arrays[name].shape


def test_we_read_what_the_library_writes(every_kind, tmp_path):
    path, arrays = every_kind
    safetensors.torch.save_file(
        safetensors.torch.load_file(path), tmp_path / "theirs", metadata={"format": "pt"}
    )
    views = _safetensors.parse(aligned_read(tmp_path / "theirs"))
    assert views.keys() == arrays.keys()
    assert all(same_bits(views[name], arrays[name]) for name in arrays)


def test_whole_blocks_of_64_bytes_are_aligned_and_items_never_cross_their_boundary(every_kind):
    path, _ = every_kind
    for name, array in _safetensors.parse(aligned_read(path)).items():
        boundary = 64 if array.nbytes % 64 == 0 else array.itemsize
        assert array.ctypes.data % boundary == 0, name


@pytest.mark.parametrize("axes", [(1, 0, 2, 3), (2, 3, 1, 0), (3, 2, 1, 0), (0, 2, 3, 1)])
def test_strided_and_foreign_arrays_are_written_in_c_order(axes, tmp_path, monkeypatch):
    monkeypatch.setattr("converters.io.writing.CHUNK", 1000)
    array = np.random.default_rng(1).normal(size=(9, 20, 3, 5)).transpose(axes)
    flat = np.broadcast_to(1.5, (40, 40))
    arrays = {
        "a": array,
        "big": array.astype(">f8"),
        "step": array[::2, ::-1],
        "flat": flat,
        "row": array[None],
    }
    _safetensors.write(tmp_path / "x", arrays)
    found = safetensors.numpy.load_file(tmp_path / "x")
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert all(np.array_equal(contiguous(arrays[name]), arrays[name]) for name in arrays)


def test_arrays_may_come_in_any_order_but_each_once_and_as_described(tmp_path):
    every = arrays_of_every_kind()
    arrays = {name: every[name] for name in ("float32.5x7", "int8.1", "float64.scalar")}
    described = _safetensors.describe(arrays)
    with _safetensors.writing(tmp_path / "x", described) as put:
        for name in reversed(arrays):
            put(name, arrays[name])
    views = _safetensors.parse(aligned_read(tmp_path / "x"))
    assert all(same_bits(views[name], arrays[name]) for name in arrays)

    twice = [("int8.1", arrays["int8.1"])] * 2
    for wrong in (twice, [("int8.1", np.zeros(1))], [("x", np.zeros(1))], []):
        with pytest.raises(CheckpointError, match=r"int8\.1|'x'"):
            put_all(tmp_path / "y", described, wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def put_all(path, described, arrays):
    with _safetensors.writing(path, described) as put:
        for name, array in arrays:
            put(name, array)


def test_arrays_are_pulled_one_at_a_time_from_a_mapping_that_knows_shapes(tmp_path):
    class Lazy(dict):
        def __init__(self, count):
            super().__init__({str(i): None for i in range(count)})
            self.shapes = dict.fromkeys(self, (2, 3))
            self.dtypes = dict.fromkeys(self, np.dtype(ml_dtypes.bfloat16))
            self.pulled = []

        def __getitem__(self, name):
            self.pulled.append(name)
            return np.full((2, 3), int(name), ml_dtypes.bfloat16)

    lazy = Lazy(5)
    _safetensors.write(tmp_path / "x", lazy)
    assert lazy.pulled == list(lazy)
    assert safetensors.torch.load_file(tmp_path / "x")["4"].tolist() == [[4, 4, 4], [4, 4, 4]]


@pytest.mark.parametrize("name", ["__metadata__", "\ud800", 1])
def test_names_that_no_file_can_hold_are_refused(name, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be stored"):
        _safetensors.write(tmp_path / "x", {name: np.zeros(1)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["text", np.array([None]), np.zeros(2, "M8[s]"), np.zeros(1, "f4,f4"), 1j])
def test_values_that_no_file_can_hold_are_refused(value, tmp_path):
    with pytest.raises(CheckpointError, match=r"'a'.*cannot be stored"):
        _safetensors.write(tmp_path / "x", {"a": value})
    assert not list(tmp_path.iterdir())


def test_the_header_agrees_with_the_librarys(every_kind):
    path, arrays = every_kind
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert (8 + length) % 64 == 0
    with safetensors.safe_open(path, "pt") as theirs:
        assert theirs.metadata() == header["__metadata__"] == {"format": "pt", "ü": "é"}
        assert all(header[name]["shape"] == theirs.get_slice(name).get_shape() for name in arrays)


def test_metadata_of_null_as_mlx_writes_it_is_none(tmp_path: Path) -> None:
    header = b'{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "mlx.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.float32(2).tobytes())
    assert read_checkpoint(path)["a"].tolist() == [2]
