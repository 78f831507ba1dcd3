"""Sections B and D: damaged, hostile and unusual files of torch.save; nothing in them is ever executed."""

import argparse
import io
import os
import pickle
import struct
import tarfile
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
import torch

from converters import read_checkpoint
from tests.converters.formats.bad import members, refused, safetensors_bytes, saved, zipped

LEGACY = {"_use_new_zipfile_serialization": False}
STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}
ZIP, OLD = saved(STATE), saved(STATE, **LEGACY)
MEMBERS = members(ZIP)


def changed(**files: bytes | None) -> bytes:
    """The archive with members replaced, or removed by None; keywords have two underscores for a slash."""
    names = {name.replace("__", "/"): data for name, data in files.items()}
    kept = {name: data for name, data in MEMBERS.items() if name.removeprefix("archive/") not in names}
    new = {f"archive/{name}": data for name, data in names.items() if data is not None}
    return zipped(kept | new)


def with_pickle(opcodes: bytes) -> bytes:
    return zipped(MEMBERS | {"archive/data.pkl": opcodes})


def tensor_opcodes(
    storage: bytes = b"X\x01\x00\x00\x000", count=6, offset=0, shape=(2, 3), stride=(3, 1), more=b""
):
    """A pickle of {"w": a tensor of storage 0}."""

    def numbers(values):
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"

    device = b"X\3\0\0\0cpu"
    identity = b"(X\7\0\0\0storagectorch\nFloatStorage\n" + storage + device + numbers([count])[1:-1] + b"tQ"
    view = identity + numbers([offset])[1:-1] + numbers(shape) + numbers(stride) + more
    return b"\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor\n(" + view + b"tRs."


class Runs:
    """Leaves a file behind if anybody unpickles it."""

    def __reduce__(self):
        return os.system, ("touch executed",)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))


def legacy_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    return file.getvalue()


def with_two_pickles() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile says that the name is there twice
        file = io.BytesIO(ZIP)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("archive/data.pkl", MEMBERS["archive/data.pkl"])
        return file.getvalue()


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


WEIGHT = STATE["layer.weight"].numpy().tobytes()
# name -> the file's bytes, and words of the message
BAD = {
    "empty file": (b"", ["empty (0 bytes)"]),
    "three bytes": (ZIP[:3], ["cut off (3 bytes)"]),
    "empty pickle": (with_pickle(b""), ["cut off"]),
    "pickle without its end": (with_pickle(MEMBERS["archive/data.pkl"][:-1]), ["cut off"]),
    "pickle of nothing": (with_pickle(b"\x80\2."), ["damaged"]),
    "no pickle": (changed(**{"data.pkl": None}), ["0 members data.pkl"]),
    "zip cut in half": (ZIP[: len(ZIP) // 2], ["cut off"]),
    "zip and one byte": (ZIP + b"\0", ["follows"]),
    "zip and a comment": (ZIP[:-2] + b"\4\0evil", ["follows"]),
    "legacy cut in its pickle": (OLD[:200], ["cut off"]),
    "legacy cut in its weights": (OLD[:-3], ["bytes of", "download"]),
    "legacy cut before a storage": (OLD[:-45], ["cut off before storage"]),
    "legacy and one byte": (OLD + b"\0", ["1 bytes follow"]),
    "legacy of a big-endian machine": (OLD.replace(b"endianq\2\x88", b"endianq\2\x89"), ["byte order"]),
    "junk before the zip": (b"junk" + ZIP, ["zip archive with something before it"]),
    "plain text": (b"These are no weights.\n", ["a text"]),
    "web page": (b"\n<!DOCTYPE html><html>Not found</html>", ["web page"]),
    "JSON": (b'{"error": "not found"}', ["JSON"]),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        ["Git LFS pointer", "git lfs pull"],
    ),
    "safetensors renamed": (safetensors_bytes({}, bytes(4)), ["is a safetensors file", "rename"]),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), ["compressed"]),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(20), ["HDF5"]),
    "a NumPy archive": (zipped({"w.npy": b"\x93NUMPY"}), ["is a NumPy archive, which its suffix"]),
    "Flax msgpack": (b"\x81\xa6params\x81\xa1w\xc7\x05", ["Flax"]),
    "noise": (bytes(range(128, 200)), ["known format"]),
    "legacy tar": (legacy_tar(), ["tar archive", "2017"]),
    "TorchScript": (zipped(MEMBERS | {"archive/constants.pkl": b"\x80\2)."}), ["TorchScript"]),
    "flipped byte in a storage": (flipped(ZIP, ZIP.index(WEIGHT) + 3), ["'layer.weight'", "CRC-32"]),
    "flipped byte in the pickle": (flipped(ZIP, ZIP.index(b"layer.bias")), ["data.pkl", "CRC-32"]),
    "flipped byte in the byte order": (flipped(ZIP, ZIP.index(b"little")), ["byteorder", "CRC-32"]),
    "unknown byte order": (changed(byteorder=b"middle"), ["middle"]),
    "os.system in a zip": (saved({"w": Runs()}), ["'posix.system'", "nothing was executed"]),
    "os.system in a legacy file": (saved({"w": Runs()}, **LEGACY), ["'posix.system'"]),
    "os.system in a plain pickle": (pickle.dumps({"w": Runs()}), ["'posix.system'"]),
    "os.system as the root": (saved(Runs()), ["'posix.system'"]),
    "os.system by INST": (with_pickle(b"\x80\2(Vtouch executed\nios\nsystem\n."), ["damaged"]),
    "os.system by INST, no arguments": (with_pickle(b"\x80\2(ios\nsystem\n."), ["'os.system'"]),
    "os.system by OBJ": (with_pickle(b"\x80\2(cos\nsystem\nX\1\0\0\0.o."), ["'os.system'"]),
    "os.system by STACK_GLOBAL": (
        with_pickle(b"\x80\4\x8c\2os\x8c\6system\x93\x8c\1.\x85R."),
        ["'os.system'"],
    ),
    "a pickled module": (saved(torch.nn.Linear(2, 3)), ["pickled module", "state_dict()"]),
    "a pickled module in a mapping": (
        saved({"model": torch.nn.Linear(2, 3)}),
        ["pickled module", "state_dict()"],
    ),
    "a pickled module, legacy": (saved(torch.nn.ReLU(), **LEGACY), ["pickled module", "state_dict()"]),
    "a pickled module of one's own": (saved(Net()), ["pickled module", "test_bad_input_torch.Net"]),
    "os.system beside the weights": (
        saved({"state_dict": STATE, "x": Runs()}),
        ["'posix.system'", "executed"],
    ),
    "a configuration alone": (
        saved({"args": argparse.Namespace(a=1)}),
        ["no model weights", "'args' is 'argparse.Namespace'", "save only the weights"],
    ),
    "a sparse tensor among others": (
        saved({"w": torch.ones(2), "s": torch.eye(2).to_sparse()}),
        ["'s'", "sparse"],
    ),
    "a NumPy array of other bytes than its shape": (
        saved({"w": np.ones(3)}).replace(b"K\x03\x85", b"K\x04\x85"),
        ["CRC-32"],
    ),
    "a NumPy array shorter than its shape": (
        pickle.dumps({"w": np.ones(3)}, protocol=4).replace(b"K\x03\x85", b"K\x04\x85"),
        ["shape (4,) has 24 bytes"],
    ),
    "NumPy's objects": (pickle.dumps({"w": np.array([None])}), ["no model weights"]),
    "bytearray of 2 GB": (
        with_pickle(b"\x80\2cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
        ["'builtins.bytearray'"],
    ),
    "bytes of 4 GB": (with_pickle(b"\x80\2B\xff\xff\xff\xffabc."), ["longer than"]),
    "text of 2^63 bytes": (with_pickle(b"\x80\4\x8d" + b"\xff" * 7 + b"\x7fabc."), ["longer than"]),
    "tensor larger than its storage": (
        with_pickle(tensor_opcodes(shape=(3, 3))),
        ["'w' needs 36 bytes", "has 24"],
    ),
    "offset beyond its storage": (with_pickle(tensor_opcodes(offset=1)), ["'w' needs 28 bytes", "has 24"]),
    "stride beyond its storage": (
        with_pickle(tensor_opcodes(stride=(9, 1))),
        ["'w' needs 48 bytes", "has 24"],
    ),
    "negative stride": (with_pickle(tensor_opcodes(stride=(-3, 1))), ["whole number"]),
    "negative offset": (with_pickle(tensor_opcodes(offset=-1)), ["whole number"]),
    "shape of 2^62": (with_pickle(tensor_opcodes(shape=(2**62, 0))), ["'w'", "impossible"]),
    "product of the shape overflows": (
        with_pickle(tensor_opcodes(shape=(2**40, 2**40))),
        ["'w'", "impossible"],
    ),
    "a terabyte by stride 0": (
        with_pickle(tensor_opcodes(shape=(2**19, 2**19), stride=(0, 0))),
        ["'w' would repeat"],
    ),
    "shape and stride of different lengths": (with_pickle(tensor_opcodes(stride=(3,))), ["damaged"]),
    "storage of another size": (with_pickle(tensor_opcodes(count=5)), ["has 24 bytes, expected 20"]),
    "storage missing": (changed(data__0=None), ["'layer.weight'", "missing"]),
    "storage short": (changed(data__0=bytes(20)), ["'layer.weight'", "20 bytes, expected 24"]),
    "storage long": (changed(data__0=bytes(28)), ["'layer.weight'", "28 bytes, expected 24"]),
    "storage elsewhere": (with_pickle(tensor_opcodes(b"X\7\0\0\0../data")), ["'w'", "missing"]),
    "two pickles of one name": (with_two_pickles(), ["two members 'archive/data.pkl'"]),
    "a lone 64-bit record": (b"PK\3\4" + b"PK\6\7" + bytes(16) + b"PK\5\6" + bytes(18), ["64-bit"]),
    "two pickles": (zipped(MEMBERS | {"other/data.pkl": b"."}), ["2 members data.pkl"]),
    "compressed members": (zipped(MEMBERS, compression=zipfile.ZIP_DEFLATED), ["compressed"]),
    "tuples of tuples as a key": (
        with_pickle(b"\x80\2}(" + b")" + b"\x942\x86" * 100 + b"Nu."),
        ["tuple as a key"],
    ),
    "root a list": (saved([torch.ones(2)]), ["list, expected a mapping"]),
    "root a tensor": (saved(torch.ones(2)), ["without a name, expected a mapping"]),
    "root a number": (saved(3), ["int, expected a mapping"]),
    "root None": (saved(None), ["NoneType, expected a mapping"]),
    "root an empty mapping": (saved({}), ["no model weights", "none"]),
    "a name that is a number": (saved({1: torch.ones(2), "a": torch.ones(2)}), ["name is 1"]),
    "a list of tensors": (
        saved({"w": torch.ones(2), "more": [torch.ones(2)]}),
        ["'more'", "list of tensors"],
    ),
    "meta tensor": (saved({"w": torch.ones(2, device="meta")}), ["meta", "no data in the file"]),
    "sparse tensor": (saved({"w": torch.eye(2).to_sparse()}), ["sparse"]),
    "complex of halves": (with_pickle(b"\x80\2ctorch\ncomplex32\n."), ["'torch.complex32'", "NumPy"]),
    "lazily conjugated": (
        saved({"w": torch.ones(2, dtype=torch.complex64).conj()}),
        ["'w'", "resolve_conj()"],
    ),
    "lazily negated": (
        saved({"w": torch.ones(2, dtype=torch.complex64).conj().imag}),
        ["'w'", "resolve_neg()"],
    ),
    "four-bit floats": (with_pickle(b"\x80\2ctorch\nfloat4_e2m1fn_x2\n."), ["'torch.float4_e2m1fn_x2'"]),
    "quantised by torch": (with_pickle(b"\x80\2ctorch\nQInt8Storage\n."), ["quantised"]),
    "booleans of 2": (
        zipped(members(saved({"b": torch.ones(2) > 0})) | {"archive/data/0": b"\1\2"}),
        ["'b'", "0 and 1"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_bounded_time_and_memory(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, words = BAD[name]
    path = tmp_path / "x.pth"
    path.write_bytes(data)
    start = time.monotonic()
    tracemalloc.start()
    try:
        refused(path, *words)
        assert tracemalloc.get_traced_memory()[1] < 5e8
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 60
    assert os.listdir(tmp_path) == ["x.pth"]


LONG = {
    "lists three million deep": (b"]" * 3_000_000 + b"a" * 2_999_999, "list, expected a mapping"),
    "tuples a million deep": (b")" + b"\x85" * 1_000_000, "tuple, expected a mapping"),
    "a hundred thousand copies of a long list": (
        b"ccollections\nOrderedDict\n\x94]("
        + b"X\2\0\0\0ab" * 100_000
        + b"e\x85\x94"
        + b"h\0h\1R0" * 100_000,
        "steps",
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_long_pickles_are_refused_in_bounded_time(name, tmp_path):
    opcodes, words = LONG[name]
    (tmp_path / "x.pth").write_bytes(with_pickle(b"\x80\2" + opcodes + b"."))
    start = time.monotonic()
    refused(tmp_path / "x.pth", words)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("data", [ZIP, OLD], ids=["zip", "legacy"])
def test_a_pickle_under_the_name_of_safetensors_is_refused(data, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(data)
    refused(tmp_path / "x.safetensors", "suffix '.safetensors'")


@pytest.mark.parametrize(
    "data",
    [ZIP, OLD, safetensors_bytes({"w": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}})],
    ids=["zip", "legacy", "safetensors"],
)
def test_a_name_without_a_known_suffix_is_read_by_content(data, tmp_path):
    (tmp_path / "0123abcd").write_bytes(data)
    assert len(read_checkpoint(tmp_path / "0123abcd"))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numbers_and_other_plain_values_beside_the_weights_do_not_matter(protocol, tmp_path):
    beside = {
        "best_acc": np.float64(0.9),
        "steps": np.int64(3),
        "best": torch.tensor(0.9),
        "set": {1, 2},
        "complex": 1j,
        "bytes": b"abc",
        "dtype": torch.bfloat16,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "tuples": {(1, 2): [None, {}]},
    }
    torch.save({"state_dict": STATE, **beside}, tmp_path / "x.pth", pickle_protocol=protocol)
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert {name: array.tolist() for name, array in checkpoint.items()} == {
        name: tensor.tolist() for name, tensor in STATE.items()
    }
    assert "'best_acc'" in checkpoint.notes[0]
