"""Section F: indexes and directories."""

import json
import os

import numpy as np
import pytest
import torch

from converters import CheckpointError, read_checkpoint, write_checkpoint
from tests.converters.formats.bad import refused

ARRAYS = {name: np.full((2, 3), value, np.float32) for value, name in enumerate("abcde")}
SHARDS = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}


def sharded(directory, kind="model", suffix="safetensors", **changes):
    """Writes three shards and an index, whose weight_map may be changed, and returns the index's path."""
    files = {name: f"{kind}-0000{shard}-of-00003.{suffix}" for name, shard in SHARDS.items()}
    for file in set(files.values()):
        write_checkpoint({name: ARRAYS[name] for name in ARRAYS if files[name] == file}, directory / file)
    index = directory / f"{kind}.{suffix}.index.json"
    weight_map = {name: file for name, file in {**files, **changes}.items() if file is not None}
    index.write_text(json.dumps({"metadata": {"total_size": 120}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize(("kind", "suffix"), [("model", "safetensors"), ("pytorch_model", "bin")])
def test_shards_are_read_together(kind, suffix, tmp_path):
    index = sharded(tmp_path, kind, suffix)
    for path in (index, tmp_path):
        checkpoint = read_checkpoint(path)
        assert checkpoint.keys() == ARRAYS.keys()
        assert all(np.array_equal(checkpoint[name], ARRAYS[name]) for name in ARRAYS)


BAD_VALUES = [
    "../../x",
    "/etc/passwd",
    "C:x.safetensors",
    "..\\x.safetensors",
    "",
    ".",
    "..",
    "sub/x.safetensors",
]
BAD_VALUES += [".hidden.safetensors", "x.safetensors\0", "x.bin", "x.safetensors/", "model.SAFETENSORS"]


@pytest.mark.parametrize("value", BAD_VALUES)
def test_shards_must_be_plain_names_of_the_indexs_kind(value, tmp_path):
    refused(sharded(tmp_path, b=value), repr(value), "plain file name")


def test_links_may_lead_into_the_hubs_cache_but_nowhere_else(tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "0123", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    index = sharded(blobs)
    for number, file in enumerate(sorted(blobs.iterdir())):
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
        file.rename(blobs / str(number))
    assert len(read_checkpoint(snapshot)) == len(ARRAYS)
    (tmp_path / "outside").symlink_to(blobs / "1")
    shard = snapshot / "model-00002-of-00003.safetensors"
    target = shard.resolve()
    shard.unlink()
    target.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    refused(snapshot / index.name, "link out of its directory")


def test_missing_shards_are_counted_before_any_is_read(tmp_path):
    index = sharded(tmp_path)
    (tmp_path / "model-00001-of-00003.safetensors").write_bytes(b"damaged")
    for shard in (2, 3):
        (tmp_path / f"model-0000{shard}-of-00003.safetensors").unlink()
    refused(index, "2 of 3 shards missing", "model-00002-of-00003", "model-00003-of-00003")


def test_names_in_the_index_and_in_the_shards_must_be_the_same(tmp_path):
    refused(
        sharded(tmp_path, x="model-00001-of-00003.safetensors", e="model-00002-of-00003.safetensors", a=None),
        "'model-00001-of-00003.safetensors' lacks 1",
        "x",
        "'model-00001-of-00003.safetensors' has 1 not in the index: a",
    )


def test_a_shard_of_another_kind_than_the_index_is_refused(tmp_path):
    index = sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00003.safetensors"
    shard.unlink()
    torch.save({"c": torch.ones(2), "d": torch.ones(2)}, shard)
    with pytest.raises(CheckpointError, match=r"00002.*suffix '\.safetensors'"):
        read_checkpoint(index)


INDEXES = {
    "empty": (b"", ["not an index"]),
    "not JSON": (b"weights", ["not an index"]),
    "not UTF-8": (b'{"\xff": 1}', ["not an index"]),
    "a list": (b"[]", ["weight_map"]),
    "no weight_map": (b'{"metadata": {}}', ["weight_map"]),
    "an empty weight_map": (b'{"weight_map": {}}', ["weight_map"]),
    "weight_map a list": (b'{"weight_map": ["a"]}', ["weight_map"]),
    "values that are no strings": (b'{"weight_map": {"a": 1}}', ["no file names"]),
    "the same name twice": (
        b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}',
        ["'a' occurs twice"],
    ),
    "nested deep": (b'{"weight_map":' + b"[" * 100_000, ["not an index"]),
    "over 16 MB": (b'{"weight_map": {}}' + b" " * 16_000_000, ["16,000,018 bytes", "limit"]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_a_malformed_index_is_refused(name, tmp_path):
    data, words = INDEXES[name]
    (tmp_path / "model.safetensors.index.json").write_bytes(data)
    refused(tmp_path / "model.safetensors.index.json", *words)
    refused(tmp_path / "model.safetensors.index.json", *words, key="ema")


def test_another_json_is_no_index(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path / "config.json", ".safetensors.index.json")


def test_a_directorys_safetensors_come_before_its_pickles_and_that_is_said(tmp_path):
    torch.save({"pickled": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert list(read_checkpoint(tmp_path)) == ["pickled"]
    sharded(tmp_path)
    assert list(read_checkpoint(tmp_path)) == list(ARRAYS)
    write_checkpoint({"whole": np.ones(2)}, tmp_path / "model.safetensors")
    checkpoint = read_checkpoint(tmp_path)
    assert list(checkpoint) == ["whole"]
    assert checkpoint.notes == (
        "took 'model.safetensors'",
        "left out model.safetensors.index.json, pytorch_model.bin",
    )


DIRECTORIES = {
    "empty": ([], "no checkpoint"),
    "two files": (["a.pth", "b.safetensors"], "several checkpoints: a.pth, b.safetensors"),
    "an adapter": (["adapter_config.json", "adapter_model.safetensors"], "adapter weights"),
    "ONNX": (["config.json", "model.onnx"], "ONNX"),
    "Orbax": (["_CHECKPOINT_METADATA"], "Orbax"),
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_directory_without_one_checkpoint_is_refused(name, tmp_path):
    files, words = DIRECTORIES[name]
    for file in files:
        (tmp_path / file).touch()
    refused(tmp_path, words)


def test_special_files_and_odd_names(tmp_path):
    os.mkfifo(tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "named pipe")
    (tmp_path / "y.pth").symlink_to("nowhere")
    refused(tmp_path / "y.pth", "No such file")
    refused(tmp_path / ("n" * 300), "too long")
    refused(tmp_path / "a\0b", "zero byte")
    path = tmp_path / "- a b\udcff.safetensors"
    write_checkpoint({"w": np.ones(2)}, path)
    assert list(read_checkpoint(path)) == ["w"]
    path.write_bytes(b"")
    assert "empty" in refused(path).encode("utf-8").decode()
