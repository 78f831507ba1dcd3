"""Files of torch.save, old and new, read without torch and compared with it; and files for torch.load."""

import subprocess
import sys
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
import torch

from converters import CheckpointError, read_checkpoint, write_checkpoint
from converters.io.dtypes import BY_TORCH
from tests.converters.formats.bad import members, refused, saved, zipped
from tests.converters.formats.test_checkpoints_safetensors import arrays_of_every_kind, same_bits

FORMATS = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
    "legacy, protocol 5": {"pickle_protocol": 5, "_use_new_zipfile_serialization": False},
}


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's bits, through torch."""
    dtype = BY_TORCH[str(tensor.dtype).removeprefix("torch.")].numpy
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return tensor.flatten().view(torch.uint8).numpy().view(dtype).reshape(tensor.shape)


def as_tensor(array: np.ndarray) -> torch.Tensor:
    name = next(name for name, kind in BY_TORCH.items() if kind.numpy == array.dtype)
    if not array.size:
        return torch.empty(array.shape, dtype=getattr(torch, name))
    return torch.frombuffer(bytearray(array.tobytes()), dtype=getattr(torch, name)).reshape(array.shape)


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4, 4)]
    layers.append(torch.nn.Linear(4, 4))
    layers[4].weight = layers[3].weight
    return torch.nn.Sequential(*layers)


BASE = torch.arange(60.0).reshape(3, 4, 5)
VIEWS = {
    "transposed": BASE.permute(2, 0, 1),
    "sliced": BASE[1:, ::2, 3:],
    "one element of many": torch.zeros(1000, 1000)[5:6, 7:8],
    "expanded": torch.arange(3.0)[:, None].expand(3, 4),
    "repeated": torch.ones(1).expand(2, 3),
    "0-d": BASE[1, 2, 3],
    "empty": BASE[:0],
    "empty at the end": BASE.flatten()[60:],
    "real part": torch.view_as_real(torch.arange(3) * (1 + 2j))[:, 1],
    "channels last": torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "other type": torch.arange(4, dtype=torch.int32).view(torch.float32),
    "other width": torch.arange(4, dtype=torch.int32).view(torch.uint8)[3:9],
}
STATES = {
    "every kind": {name: as_tensor(array) for name, array in arrays_of_every_kind().items()},
    "module": module().state_dict(),
    "wrapped module": torch.nn.DataParallel(module()).state_dict(),
    "parameters": OrderedDict(module().named_parameters()),
    "views": VIEWS,
    "attributes": {"w": torch.nn.Parameter(torch.ones(2)), "buffer": torch.ones(3)},
}
STATES["attributes"]["w"].note = STATES["attributes"]["buffer"].note = "mine"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_everything_is_read_as_torch_reads_it(state, options, tmp_path):
    tensors = STATES[state]
    torch.save(tensors, tmp_path / "x.pth", **options)
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert list(checkpoint) == list(tensors)
    for name, tensor in tensors.items():
        array = checkpoint[name]
        assert same_bits(array, as_array(tensor)), name
        assert checkpoint.shapes[name] == array.shape
        assert checkpoint.dtypes[name] == array.dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_a_big_endian_file_is_swapped(tmp_path):
    arrays = arrays_of_every_kind()
    files = members(saved(STATES["every kind"])) | {"archive/byteorder": b"big"}
    for index, array in enumerate(arrays.values()):
        width = array.itemsize // (2 if array.dtype.kind == "c" else 1)
        swapped = np.frombuffer(array.tobytes(), f"u{width}").byteswap()
        files[f"archive/data/{index}"] = swapped.tobytes()
    (tmp_path / "x.pth").write_bytes(zipped(files))
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert all(same_bits(checkpoint[name], array) for name, array in arrays.items())


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_tied_tensors_are_both_there_and_known_as_tied(options, tmp_path):
    torch.save(
        {**module().state_dict(), "part": module().state_dict()["3.bias"][1:]}, tmp_path / "x.pth", **options
    )
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert checkpoint.aliases == {"4.weight": "3.weight"}
    assert np.array_equal(checkpoint["3.weight"], checkpoint["4.weight"])


def test_every_array_has_memory_of_its_own(tmp_path):
    torch.save({"a": BASE, "b": BASE, "expanded": VIEWS["expanded"]}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    first = checkpoint["a"]
    first[:] = 0
    assert checkpoint["a"].any()
    assert checkpoint["b"].any()
    row = checkpoint["expanded"]
    row[0, 0] = 7
    assert row[0].tolist() == [7, 0, 0, 0]


def test_a_view_of_a_large_storage_is_read_alone_and_that_is_said(tmp_path):
    torch.save({"w": VIEWS["one element of many"]}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert checkpoint["w"].shape == (1, 1)
    assert checkpoint["w"].base is None or checkpoint["w"].base.nbytes < 1000
    assert "of which the weights are 4" in checkpoint.notes[0]


def test_a_damaged_part_of_a_storage_is_found_through_any_of_its_views(tmp_path):
    torch.save({"row": BASE[0], "whole": torch.ones(3)}, tmp_path / "x.pth")
    data = bytearray((tmp_path / "x.pth").read_bytes())
    data[data.index(BASE.numpy().tobytes()) + 239] ^= 16
    (tmp_path / "x.pth").write_bytes(data)
    refused(tmp_path / "x.pth", "'row'", "CRC-32")
    assert read_checkpoint(tmp_path / "x.pth")["whole"].tolist() == [1, 1, 1]


def test_torch_reads_what_we_write(tmp_path):
    arrays = arrays_of_every_kind() | {
        "é.\n": np.arange(6.0).reshape(2, 3).T,
        "big": np.arange(3, dtype=">i4"),
    }
    write_checkpoint(arrays, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        assert archive.testzip() is None
    for mmap in (False, True):
        tensors = torch.load(tmp_path / "x.pth", weights_only=True, mmap=mmap)
        assert type(tensors) is OrderedDict
        assert list(tensors) == list(arrays)
        for name, tensor in tensors.items():
            assert (
                as_array(tensor).tobytes()
                == arrays[name].astype(arrays[name].dtype.newbyteorder("=")).tobytes()
            )
            assert tuple(tensor.shape) == arrays[name].shape
            assert tensor.data_ptr() % 64 == 0 or not mmap or not tensor.numel()
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert list(checkpoint) == list(arrays)
    assert all(np.array_equal(checkpoint[name], arrays[name]) for name in ("é.\n", "big"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".PT", ".bin"])
def test_a_state_dict_goes_round_whole(suffix, tmp_path):
    torch.save(module().state_dict(), tmp_path / "first.pth")
    first = read_checkpoint(tmp_path / "first.pth")
    write_checkpoint(first, tmp_path / f"second{suffix}")
    second = read_checkpoint(tmp_path / f"second{suffix}")
    assert second.keys() == first.keys()
    assert all(same_bits(first[name], second[name]) for name in first)
    if suffix != ".safetensors":
        assert list(first) == list(second)
        module().load_state_dict(torch.load(tmp_path / f"second{suffix}", weights_only=True), strict=True)


def test_writing_refuses_what_it_cannot_do_and_leaves_nothing(tmp_path):
    cases = {
        "x.npy": ({"w": np.ones(2)}, "ends in"),
        "a.pth": ({"w": np.zeros(2, ml_dtypes.int4)}, "'w' (int4) cannot be stored"),
        "b.pth": ({1: np.ones(2)}, "name 1"),
        "missing/c.pth": ({"w": np.ones(2)}, "no directory"),
        "d.safetensors": ({"w": np.array(["text"])}, "'w'"),
    }
    for name, (arrays, words) in cases.items():
        with pytest.raises(CheckpointError) as caught:
            write_checkpoint(arrays, tmp_path / name)
        assert words in str(caught.value)
    assert not list(tmp_path.iterdir())
    write_checkpoint({"w": np.ones(2)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="exists"):
        write_checkpoint({"w": np.zeros(2)}, tmp_path / "x.pth")
    write_checkpoint({"w": np.zeros(2)}, tmp_path / "x.pth", overwrite=True)
    assert not read_checkpoint(tmp_path / "x.pth")["w"].any()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_full_disk_leaves_the_old_file(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    write_checkpoint({"old": np.ones(2)}, path)
    script = (
        "import resource, sys, numpy as np; from converters import CheckpointError, write_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "arrays = {str(i): np.ones(1000) for i in range(10)}\n"
        "try:\n    write_checkpoint(arrays, sys.argv[1], overwrite=True)\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], check=True, timeout=120, capture_output=True)
    assert done.stdout.decode() == f"{str(path)!r}: File too large\n"
    assert list(read_checkpoint(path)) == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_reading_and_writing_need_no_torch(tmp_path):
    torch.save(module().state_dict(), tmp_path / "x.pth")
    script = (
        "import sys; from converters.checkpoints import read_checkpoint, write_checkpoint\n"
        "checkpoint = read_checkpoint(sys.argv[1])\n"
        "write_checkpoint(checkpoint, sys.argv[1] + '.pth')\n"
        "assert 'torch' not in sys.modules and 'pickle' not in vars(sys.modules['converters.checkpoints'])\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "x.pth"], check=True, timeout=120)
    assert torch.load(tmp_path / "x.pth.pth", weights_only=True).keys() == module().state_dict().keys()
