"""Section A: damaged and hostile safetensors files; the safetensors library agrees on what is well-formed."""

import json
import time
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from converters import read_checkpoint
from converters.formats import safetensors as _safetensors
from converters.io.files import aligned_read
from tests.converters.formats.bad import refused, safetensors_bytes


def entry(begin, end, shape=(1,), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


GOOD = safetensors_bytes({"w": entry(0, 4), "b": entry(4, 12, (2,))}, bytes(12))
BIG = 2**62
# name -> the file's bytes, and words of the message
BAD = {
    "empty file": (b"", ["empty (0 bytes)", "download"]),
    "fewer than eight bytes": (GOOD[:5], ["cut off (5 bytes)"]),
    "one byte too few": (GOOD[:-1], ["cut off", f"{len(GOOD) - 1} bytes of {len(GOOD)}"]),
    "one byte too many": (GOOD + b"\0", ["1 bytes follow the last tensor"]),
    "a zip behind it": (GOOD + b"PK\3\4" + bytes(100), ["104 bytes follow"]),
    "header longer than the file": (safetensors_bytes({}, length=1000), ["1,000 bytes"]),
    "header of 2^63 bytes": (safetensors_bytes({}, length=2**63), ["9,223,372,036,854,775,808"]),
    "header of 2^64 - 1 bytes": (safetensors_bytes({}, length=2**64 - 1), ["limit"]),
    "header over 100 MB": (safetensors_bytes({}, length=100_000_001), ["100,000,001", "limit"]),
    "header one byte short": (
        safetensors_bytes(GOOD[8:-12], bytes(12), len(GOOD) - 21),
        ["safetensors header"],
    ),
    "header one byte long": (
        safetensors_bytes(GOOD[8:-12], bytes(12), len(GOOD) - 19),
        ["safetensors header"],
    ),
    "header of no bytes": (safetensors_bytes(b""), ["safetensors header"]),
    "header not UTF-8": (safetensors_bytes(b'{"\xff":1}'), ["safetensors header"]),
    "header not JSON": (safetensors_bytes(b"{not JSON}"), ["safetensors header"]),
    "header an array": (safetensors_bytes([1, 2]), ["safetensors header"]),
    "header a number": (safetensors_bytes(1), ["safetensors header"]),
    "header starts with a space": (safetensors_bytes(b' {"w":1}'), ["safetensors header"]),
    "header with NaN": (safetensors_bytes(b'{"w": NaN}'), ["'w'"]),
    "header nested 200,000 deep": (safetensors_bytes(b'{"w":' + b"[" * 200_000), ["safetensors header"]),
    "header of three million lists": (safetensors_bytes(b'{"w":[' + b"[]," * 3_000_000), ["values", "limit"]),
    "a number of 5,000 digits": (safetensors_bytes(b'{"w":' + b"1" * 5000 + b"}"), ["safetensors header"]),
    "the same name twice": (safetensors_bytes(b'{"w":{},"w":{}}'), ["'w' occurs twice"]),
    "the same field twice": (
        safetensors_bytes(b'{"w":{"dtype":"F32","dtype":"I32"}}'),
        ["'dtype' occurs twice"],
    ),
    "two tensors on the same bytes": (
        safetensors_bytes({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)),
        ["overlap"],
    ),
    "overlap": (safetensors_bytes({"a": entry(0, 8, (2,)), "b": entry(4, 8)}, bytes(8)), ["'b' overlaps"]),
    "gap": (safetensors_bytes({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), ["'b' leaves a gap"]),
    "gap at the beginning": (safetensors_bytes({"a": entry(4, 8)}, bytes(8)), ["gap"]),
    "reversed offsets": (safetensors_bytes({"a": entry(4, 0)}, bytes(4)), ["'a'", "[4, 0]"]),
    "negative offsets": (safetensors_bytes({"a": entry(-4, 0)}, bytes(4)), ["'a'", "[-4, 0]"]),
    "float offsets": (safetensors_bytes({"a": entry(0.0, 4.0)}, bytes(4)), ["'a'", "[0.0, 4.0]"]),
    "boolean offsets": (safetensors_bytes({"a": entry(begin=False, end=4)}, bytes(4)), ["'a'"]),
    "three offsets": (
        safetensors_bytes({"a": {**entry(0, 4), "data_offsets": [0, 4, 4]}}, bytes(4)),
        ["'a'"],
    ),
    "offsets past the end": (safetensors_bytes({"a": entry(0, 40, (10,))}, bytes(4)), ["cut off"]),
    "more bytes than the shape": (
        safetensors_bytes({"a": entry(0, 8)}, bytes(8)),
        ["needs 4 bytes, it has 8"],
    ),
    "fewer bytes than the shape": (
        safetensors_bytes({"a": entry(0, 2)}, bytes(2)),
        ["needs 4 bytes, it has 2"],
    ),
    "product of the shape overflows": (
        safetensors_bytes({"a": entry(0, 4, (4194305, 4194305, 211106198978564))}, bytes(4)),
        ["'a'", "impossible shape"],
    ),
    "a dimension of 2^62 in an empty tensor": (
        safetensors_bytes({"a": entry(0, 0, (0, BIG))}),
        ["impossible"],
    ),
    "100 dimensions": (safetensors_bytes({"a": entry(0, 4, (1,) * 100)}, bytes(4)), ["100 dimensions"]),
    "unknown dtype": (safetensors_bytes({"a": entry(0, 4, dtype="F33")}, bytes(4)), ["'F33'", "not support"]),
    "a dtype of sub-bytes": (safetensors_bytes({"a": entry(0, 4, (8,), "F4")}, bytes(4)), ["'F4'"]),
    "dtype a list": (safetensors_bytes({"a": entry(0, 4, dtype=[])}, bytes(4)), ["'a'"]),
    "an entry without shape": (
        safetensors_bytes({"a": {"dtype": "F32"}}, bytes(4)),
        ["'a' has no dtype, shape"],
    ),
    "an entry that is a list": (safetensors_bytes({"a": [1]}, bytes(4)), ["'a'"]),
    "metadata with numbers": (safetensors_bytes({"__metadata__": {"a": 1}}), ["__metadata__"]),
    "metadata a list": (safetensors_bytes({"__metadata__": []}), ["__metadata__"]),
    "a name of a million characters": (
        safetensors_bytes({"w" * 1_000_000: entry(0, 4, dtype="F33")}, bytes(4)),
        ["1,000,000 characters"],
    ),
    "no tensors": (safetensors_bytes({}), ["no tensors"]),
    "metadata only": (safetensors_bytes({"__metadata__": {"a": "b"}}), ["no tensors"]),
    "200,000 empty tensors": (
        safetensors_bytes({f"t{i}": entry(0, 0, (0,)) for i in range(200_000)}),
        ["200,000 tensors", "limit"],
    ),
    "booleans of 2": (safetensors_bytes({"a": entry(0, 2, (2,), "BOOL")}, b"\1\2"), ["'a'", "0 and 1"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_bounded_time_and_memory(name, tmp_path):
    data, words = BAD[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    start = time.monotonic()
    tracemalloc.start()
    try:
        refused(path, *words)
        assert tracemalloc.get_traced_memory()[1] < 2e8 + 4 * len(data)
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 20


ACCEPTED_BY_THE_LIBRARY = {
    "a dimension of 2^62 in an empty tensor",
    "no tensors",
    "metadata only",
    "200,000 empty tensors",
    "booleans of 2",
    "a dtype of sub-bytes",
    "the same name twice",
    "100 dimensions",
}


@pytest.mark.parametrize("name", sorted(BAD.keys() - ACCEPTED_BY_THE_LIBRARY))
def test_the_library_refuses_the_same(name, tmp_path):
    (tmp_path / "x").write_bytes(BAD[name][0])
    with (
        pytest.raises((safetensors.SafetensorError, OSError)),
        safetensors.safe_open(tmp_path / "x", "np") as file,
    ):
        file.keys()


GOOD_FILES = {
    "plain": GOOD,
    "unknown field": safetensors_bytes({"w": entry(0, 4, note=[1, {}])}, bytes(4)),
    "out of order": safetensors_bytes({"b": entry(4, 12, (2,)), "w": entry(0, 4)}, bytes(12)),
    "empty tensors anywhere": safetensors_bytes(
        {"e": entry(4, 4, (0, 3)), "w": entry(0, 4), "f": entry(4, 8), "g": entry(0, 0, (0,))}, bytes(8)
    ),
    "padded header": safetensors_bytes(json.dumps({"w": entry(0, 4)}).encode() + b"   ", bytes(4)),
    "unaligned": safetensors_bytes({"a": entry(0, 1, (1,), "U8"), "w": entry(1, 9, (1,), "F64")}, bytes(9)),
}


@pytest.mark.parametrize("name", GOOD_FILES)
def test_unusual_files_are_read_as_the_library_reads_them(name, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(GOOD_FILES[name])
    expected = safetensors.numpy.load_file(path)
    for found in (dict(read_checkpoint(path)), _safetensors.parse(aligned_read(path))):
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            assert found[key].dtype == array.dtype
            assert np.array_equal(found[key], array)


def test_a_key_to_choose_by_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(GOOD)
    refused(tmp_path / "x.safetensors", "'ema'", key="ema")
