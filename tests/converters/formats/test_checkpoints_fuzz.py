"""Thousands of damaged files: each is refused with CheckpointError or gives what the reference reader gives.

A mutation is made from its seed alone: a failure names it, and `mutated(name, seed)` makes the file again.
"""

import json
import pickle
import random
import re
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from converters import CheckpointError, read_checkpoint
from converters.formats.torch_pickle import CALLS, INERT
from tests.converters.formats.bad import members, safetensors_bytes, saved, zipped
from tests.converters.formats.test_checkpoints_torch import as_array

pytestmark = pytest.mark.costly

TENSORS = {
    "conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2),
    "bn.num_batches_tracked": torch.tensor(7),
    "fc.weight": torch.arange(6, dtype=torch.float16).reshape(2, 3).T,
    "mask": torch.tensor([True, False]),
    "empty": torch.ones(0, 3),
    "half": torch.arange(3).bfloat16(),
}
TENSORS["tied"] = TENSORS["conv.weight"]
ORIGINAL = {name: as_array(tensor) for name, tensor in TENSORS.items()}
ZIP = saved(TENSORS)
STORAGES = [as_array(tensor).nbytes for name, tensor in TENSORS.items() if name != "tied"]


def legacy() -> bytes:
    """A legacy file whose storages have names and an order of their own, not those of their addresses."""
    data = saved({"state_dict": TENSORS, "epoch": 3}, _use_new_zipfile_serialization=False)
    head, _, tail = data.rpartition(b"\x80\2]q\0(X")
    addresses = list(dict.fromkeys(re.findall(rb"X(?:.\0\0\0)(\d+)q", head, re.DOTALL)))
    tail = tail[tail.index(b"e.") + 2 :]
    blocks = {}
    for address, size in sorted(zip(addresses, STORAGES, strict=True)):
        blocks[address], tail = tail[: 8 + size], tail[8 + size :]
    names = [f"{index:0{len(address)}}" for index, address in enumerate(addresses)]
    for address, name in zip(addresses, names, strict=True):
        head = head.replace(address, name.encode())
    return head + pickle.dumps(names, 2) + b"".join(blocks[address] for address in addresses)


LEGACY = legacy()
SAFETENSORS = safetensors.numpy.save({name: ORIGINAL[name] for name in ("conv.weight", "mask", "empty")})
PICKLE = members(ZIP)["archive/data.pkl"]
LARGE = (0, 1, 4, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)
GLOBALS = [
    f"c{name.rpartition('.')[0]}\n{name.rpartition('.')[2]}\n".encode() for name in sorted({*CALLS, *INERT})
]


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def number(data: bytearray, rng: random.Random) -> None:
    width, position = rng.choice((1, 2, 4, 8)), rng.randrange(len(data))
    data[position : position + width] = (rng.choice(LARGE) % 256**width).to_bytes(width, "little")


def cut(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 8, 64, len(data)))]


def repeat(data: bytearray, rng: random.Random) -> None:
    start, position = rng.randrange(len(data)), rng.randrange(len(data))
    data[position:position] = data[start : start + rng.choice((1, 2, 8, 64))]


def insert(data: bytearray, rng: random.Random) -> None:
    position = rng.randrange(len(data) + 1)
    data[position:position] = rng.choice((rng.randbytes(rng.randrange(1, 9)), *GLOBALS))


def digits(data: bytearray, rng: random.Random) -> None:
    """Another number in a text, as in the header of a safetensors file."""
    places = [i for i, byte in enumerate(data[:2000]) if chr(byte).isdigit()]
    if places:
        position = rng.choice(places)
        data[position : position + 1] = str(rng.choice((*LARGE, -1, 0.5, 1e300))).encode()


def mutate(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if changed:
            rng.choice((flip, flip, overwrite, number, cut, repeat, insert, digits))(changed, rng)
    return bytes(changed)


def with_header(header: bytes) -> bytes:
    length = int.from_bytes(SAFETENSORS[:8], "little")
    return safetensors_bytes(header, SAFETENSORS[8 + length :])


# name -> what is mutated, how it becomes a file (with sums and lengths right again), and the file's suffix
TARGETS: dict[str, tuple[bytes, Callable[[bytes], bytes], str]] = {
    "zip": (ZIP, bytes, ".pth"),
    "pickle in a zip": (PICKLE, lambda data: zipped({**members(ZIP), "archive/data.pkl": data}), ".pth"),
    "legacy": (LEGACY, bytes, ".pth"),
    "safetensors": (SAFETENSORS, bytes, ".safetensors"),
    "header of safetensors": (
        SAFETENSORS[8 : 8 + int.from_bytes(SAFETENSORS[:8], "little")],
        with_header,
        ".safetensors",
    ),
}


def mutated(name: str, seed: int) -> bytes:
    source, finish, _ = TARGETS[name]
    return finish(mutate(source, random.Random(f"{name} {seed}")))


def reference(name: str, path: Path) -> dict[str, np.ndarray] | None:
    """Reads a file by the reference implementation; None where that refuses."""
    if name.endswith("safetensors"):
        return safetensors.numpy.load_file(path)
    if name == "zip":
        return ORIGINAL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, weights_only=True)
    except Exception:  # torch raises all kinds at damaged files; ours may still read what is left whole
        return None
    content = next((value for value in content.values() if isinstance(value, dict)), content)
    return {name: as_array(value) for name, value in content.items() if isinstance(value, torch.Tensor)}


def fuzz(name: str, count: int, directory: Path) -> tuple[int, int]:
    """Tries so many mutations; returns how many were read and how many refused."""
    path, read = directory / f"x{TARGETS[name][2]}", 0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(count):
        path.write_bytes(mutated(name, seed))
        start = time.monotonic()
        try:
            found = dict(read_checkpoint(path))
        except CheckpointError:
            continue
        finally:
            assert time.monotonic() - start < 20, (name, seed)
        read += 1
        expected = reference(name, path)
        if expected is None:
            # Damage that only torch cares for: every array must still be one of the original's, unless the
            # weights themselves are hit, for which this format has no sum.
            if name == "legacy" and not path.read_bytes().endswith(
                LEGACY[-sum(STORAGES) - 8 * len(STORAGES) :]
            ):
                continue
            whole = {(array.shape, array.dtype, array.tobytes()) for array in ORIGINAL.values()}
            assert {(a.shape, a.dtype, a.tobytes()) for a in found.values()} <= whole, (name, seed)
        else:
            assert found.keys() == expected.keys(), (name, seed)
            for key, array in found.items():
                assert array.dtype == expected[key].dtype, (name, seed)
                assert (array.shape, array.tobytes()) == (expected[key].shape, expected[key].tobytes()), (
                    name,
                    seed,
                )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500_000, name
    return read, count - read


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_or_read_right(name, tmp_path):
    read, refused = fuzz(name, 600, tmp_path)
    assert read
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_very_many_damaged_files_are_refused_or_read_right(name, tmp_path):
    read, refused = fuzz(name, 50_000, tmp_path)
    print(f"{name}: {read} read, {refused} refused")


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_of_an_archive_passes(bit, tmp_path):
    path = tmp_path / "x.pth"
    for position in range(bit, len(ZIP), 8):
        path.write_bytes(ZIP[:position] + bytes([ZIP[position] ^ 1 << bit]) + ZIP[position + 1 :])
        try:
            found = dict(read_checkpoint(path))
        except CheckpointError:
            continue
        assert {name: array.tobytes() for name, array in found.items()} == {
            name: array.tobytes() for name, array in ORIGINAL.items()
        }, (bit, position)


def test_the_mutations_of_a_header_are_json_often_enough():
    def is_json(seed):
        try:
            return bool(json.loads(mutate(TARGETS["header of safetensors"][0], random.Random(seed))))
        except ValueError:
            return False

    assert sum(map(is_json, range(300))) > 50
