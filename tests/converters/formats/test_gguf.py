"""GGUF files: their numbers bit for bit, and damaged ones."""

import hashlib
import random

import numpy as np
import pytest

from converters import CheckpointError, read_checkpoint
from converters.formats.gguf_blocks import KINDS, numbers
from tests.converters.formats.bad import refused
from tests.support.gguf_files import F16, F32, Q8_0, gguf_bytes, q8_0

# Type -> bytes of a block that begin a float16's upper half, and what the package gguf 0.19.0 makes of the
# blocks below: the SHA-256 of the float32 numbers.
GOLDEN = {
    "Q4_0": ((1,), "598d2bcc52a9ffc5728bfbc90d8b6dd1"),
    "Q4_1": ((1, 3), "6ab1a202896c1b0d02818b2dafe7971a"),
    "Q5_0": ((1,), "f34e70be963e2a75a60e5b3168eb8942"),
    "Q5_1": ((1, 3), "199c723506b610a0202ef5458091d9cf"),
    "Q8_0": ((1,), "040a4ad7032fefef4dfd9148930edb48"),
    "Q4_K": ((1, 3), "9768c359b0bcce063eeb11dc82fcbcab"),
    "Q5_K": ((1, 3), "8eb851c07c1dadfc80868b1deea7bf2d"),
    "Q6_K": ((209,), "13342d062b45f66b8feac7374f6fa7c4"),
}
METADATA = {
    "general.architecture": "llama",
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a", "b"],
}
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(8, 64)).astype("f4")
TENSORS = {
    "token_embd.weight": (F16, (5, 3), RANDOM.normal(size=(5, 3)).astype("f2").tobytes()),
    "blk.0.attn_q.weight": (Q8_0, (8, 64), q8_0(ROWS)),
    "blk.0.attn_v.bias": (F32, (3,), RANDOM.normal(size=3).astype("f4").tobytes()),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_of_blocks_are_those_of_the_package_gguf(name):
    kind = next(each for each in KINDS.values() if each.name == name)
    halves, digest = GOLDEN[name]
    content = np.frombuffer(hashlib.shake_256(name.encode()).digest(64 * kind.nbytes), np.uint8)
    blocks = content.reshape(64, kind.nbytes).copy()
    blocks[:, halves] &= 0xBB  # neither infinity nor NaN
    found = numbers(kind, blocks.reshape(-1), (64, kind.numbers))
    assert hashlib.sha256(found.astype("<f4").tobytes()).hexdigest().startswith(digest)


@pytest.mark.parametrize("version", [2, 3])
def test_tensors_have_transformers_names_and_order(path, version):
    path.write_bytes(gguf_bytes(METADATA, TENSORS, version=version))
    found = read_checkpoint(path)
    assert found.shapes == {
        "model.embed_tokens.weight": (5, 3),
        "model.layers.0.self_attn.q_proj.weight": (8, 64),
        "model.layers.0.self_attn.v_proj.bias": (3,),
    }
    assert [str(dtype) for dtype in found.dtypes.values()] == ["float16", "float32", "float32"]
    rows = found["model.layers.0.self_attn.q_proj.weight"]
    # Heads of two: nothing to turn. Their order in a head of four numbers is 0 2 1 3.
    np.testing.assert_allclose(rows, ROWS, atol=np.abs(ROWS).max() / 200)
    path.write_bytes(gguf_bytes(METADATA | {"llama.attention.head_count": 2}, TENSORS))
    turned = read_checkpoint(path)["model.layers.0.self_attn.q_proj.weight"]
    np.testing.assert_array_equal(turned, rows[[0, 2, 1, 3, 4, 6, 5, 7]])


def test_damaged_files_are_refused_or_read_right(path):
    whole = gguf_bytes(METADATA, TENSORS)
    path.write_bytes(whole)
    wanted = dict(read_checkpoint(path))
    for size in range(8, len(whole)):
        path.write_bytes(whole[:size])
        refused(path)
    path.write_bytes(whole + bytes(32))
    refused(path, "bytes follow the last tensor")
    choose = random.Random(0)
    header = whole.index(b"attn_v") + 60
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[choose.randrange(header)] ^= 1 << choose.randrange(8)
        path.write_bytes(damaged)
        try:
            found = dict(read_checkpoint(path))
        except CheckpointError:
            continue
        assert sum(array.nbytes for array in found.values()) <= 2 * sum(a.nbytes for a in wanted.values())


@pytest.mark.parametrize(
    ("metadata", "tensors", "words"),
    [
        ({"general.architecture": "mamba"}, TENSORS, "is a GGUF file of 'mamba'; this version reads llama"),
        ({}, {"blk.0.ssm.weight": (F32, (1,), bytes(4))}, "'blk.0.ssm.weight', which no architecture"),
        ({}, {"output.weight": (10, (256,), bytes(84))}, "is quantized as Q2_K; this version reads F32"),
        ({}, {"output.weight": (99, (256,), bytes(84))}, "is quantized as of number 99"),
        ({}, {"output.weight": (Q8_0, (33,), bytes(34))}, "rows of 33 numbers; Q8_0 has blocks of 32"),
        ({}, {"output.weight": (F32, (1 << 40, 9), b"")}, "impossible shape"),
        ({}, {"blk.0.attn_k.weight": (F32, (6, 1), bytes(24))}, "has 6 rows, for 2 heads"),
        ({"general.alignment": 0}, TENSORS, "general.alignment is 0"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(path, metadata, tensors, words):
    path.write_bytes(gguf_bytes(METADATA | metadata, tensors))
    refused(path, words)


def test_hostile_counts_are_refused_before_anything_is_allocated(path):
    whole = gguf_bytes(METADATA, TENSORS)
    for offset, words in ((8, "tensors and"), (16, "keys"), (24, "a text in the header has")):
        path.write_bytes(whole[:offset] + b"\xff" * 8 + whole[offset + 8 :])
        refused(path, words)
    path.write_bytes(b"GGUF\0\0\0\3" + whole[8:])
    refused(path, "version 50331648")
    path.write_bytes(whole)
    refused(path, "has one state dict, none called 'ema'", key="ema")
