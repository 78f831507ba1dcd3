"""Files that are read by slices, as every device needs them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

import converters
import zoo
from converters.formats import INDEX_FILE
from converters.io import slices
from tests.zoo.variables import on_devices
from zoo._hub.checksum import checksum_of
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._processes import ProcessGroup
from zoo._publishing import stage
from zoo._registry import families
from zoo._saving import save, shards
from zoo._variables import init, lazy
from zoo._variables.tree import flatten, unflatten

pytestmark = pytest.mark.costly

ROOT = Path(__file__).parents[3]
TRANSFORMERS = on_devices.TRANSFORMERS


def here():
    """A placement that makes `load` read slices, though there is one device."""
    return SingleDeviceSharding(jax.devices()[0])


def equal(first, second):
    return jax.tree.all(jax.tree.map(np.array_equal, first.variables, second.variables))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("more", [{}, {"scan": True}], ids=["blocks", "a loop"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "resnet", "transformer", "vit"])
def test_every_layout_is_read_by_slices(tmp_path, family, more, suffix):
    name, config, _ = on_devices.MODELS[family]
    config = config | (more if family in TRANSFORMERS else {})
    module, entry = build(zoo.info(name), config=config)
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in entry.inputs]
    rng = np.random.default_rng(0)
    flat = init.shapes(module, entry.inputs)
    variables = {path: rng.standard_normal(leaf.shape).astype(np.float32) for path, leaf in flat.items()}
    for layout, names in families.torch_names(entry).items():
        tensors = converters.to_torch(unflatten(variables), module, *inputs, names=names)
        path = tmp_path / f"{layout}{suffix}"
        converters.write_checkpoint(tensors, path)
        entry = replace(entry, layout=layout)
        found = layouts.fitted(entry, converters.read_checkpoint(path), module).conversion.in_files()
        assert {"/".join(path) for path in found} == variables.keys()
        for key, array in found.items():
            assert isinstance(array, slices.Moved), (layout, key)
            np.testing.assert_array_equal(slices.read_box(array), variables["/".join(key)])


def test_half_precision_is_cast_and_widened_slice_by_slice(saved, tmp_path):
    model = zoo.load(saved["resnet20_cifar10"], pretrained=True)
    half = model.replace(variables=jax.tree.map(lambda leaf: leaf.astype("bfloat16"), model.variables))
    zoo.save(half, tmp_path / "half")
    plain = zoo.load(tmp_path / "half", pretrained=True, param_dtype="float16")
    sliced = zoo.load(tmp_path / "half", pretrained=True, param_dtype="float16", sharding=here())
    assert equal(plain, sliced)
    assert jax.tree.map(lambda leaf: leaf.dtype, plain.variables) == jax.tree.map(
        lambda leaf: leaf.dtype, sliced.variables
    )
    large = jax.tree.map(lambda leaf: leaf * 1e38, model.variables)
    zoo.save(model.replace(variables=large), tmp_path / "large")
    with pytest.raises(zoo.WeightsError, match=r"params/.* has numbers beyond float16's"):
        zoo.load(tmp_path / "large", pretrained=True, param_dtype="float16", sharding=here())


def test_other_classes_and_channels_are_made_of_slices_too(saved):
    for config in ({"num_classes": 3}, {"in_channels": 1}):
        plain = zoo.load(saved["resnet20_cifar10"], pretrained=True, **config)
        sliced = zoo.load(saved["resnet20_cifar10"], pretrained=True, sharding=here(), **config)
        assert equal(plain, sliced)


def test_a_file_is_hashed_once_and_again_when_it_is_asked_for(saved, tmp_path, monkeypatch, hashed):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for _ in range(3):
        zoo.load(saved["mlp_mnist"], pretrained=True, sharding=here())
    assert hashed == ["model.safetensors"]
    zoo.load(saved["mlp_mnist"], pretrained=True, sharding=here(), verify=True)
    assert len(hashed) == 2
    (saved["mlp_mnist"] / "model.safetensors").touch()
    zoo.load(saved["mlp_mnist"], pretrained=True, sharding=here())
    assert len(hashed) == 3


def test_without_a_cache_a_file_is_hashed_every_time(saved, tmp_path, monkeypatch, hashed):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        zoo.load(saved["mlp_mnist"], pretrained=True, sharding=here())
    assert len(hashed) == 2


@pytest.mark.parametrize("text", ["", "1 2", "nothing at all here now"])
def test_a_damaged_record_counts_for_nothing(saved, tmp_path, monkeypatch, hashed, text):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    zoo.load(saved["mlp_mnist"], pretrained=True, sharding=here())
    (record,) = (tmp_path / "cache" / "seen").iterdir()
    record.write_text(text)
    zoo.load(saved["mlp_mnist"], pretrained=True, sharding=here())
    assert len(hashed) == 2


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_damaged_file_is_refused_before_slices_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    zoo.save(zoo.load("mlp_mnist"), tmp_path / "model")
    zoo.load(tmp_path / "model", pretrained=True, sharding=here())
    damage(tmp_path / "model" / "model.safetensors")
    with pytest.raises(zoo.WeightsError, match=r"model\.safetensors' has sha256 \w+, expected \w+; get it"):
        zoo.load(tmp_path / "model", pretrained=True, sharding=here())


@pytest.fixture
def in_parts(tmp_path, monkeypatch):
    """A directory as several processes save it."""
    monkeypatch.setattr(shards, "LARGEST", 100_000)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    model, processes = zoo.load("mlp_mnist", seed=5), ProcessGroup(distributed=True)
    flat = flatten(model.variables)
    save.write(
        tmp_path / "parts",
        model.entry,
        lambda path: shards.write(path.parent, flat, processes),
        overwrite=False,
        processes=processes,
    )
    return model, tmp_path / "parts"


def test_the_files_of_an_index_are_hashed_too(in_parts):
    model, directory = in_parts
    assert equal(zoo.load(directory, pretrained=True), model)
    assert equal(zoo.load(directory, pretrained=True, sharding=here()), model)
    shard = sorted(directory.glob("model-*"))[0]
    damage(shard)
    for sharding in (None, here()):
        with pytest.raises(zoo.WeightsError, match=rf"{shard.name}' has sha256 \w+, expected"):
            zoo.load(directory, pretrained=True, sharding=sharding)
    shard.unlink()
    with pytest.raises(zoo.WeightsError, match=f"{shard.name}.*No such file"):
        zoo.load(directory, pretrained=True, sharding=here())


def test_an_index_with_hashes_that_are_none_is_refused(in_parts):
    _, directory = in_parts
    index = json.loads((directory / INDEX_FILE).read_text())
    index["metadata"]["sha256"] = {"../elsewhere": "0" * 64}
    (directory / INDEX_FILE).write_text(json.dumps(index))
    config = json.loads((directory / "config.json").read_text())
    found = checksum_of(directory / INDEX_FILE)
    config["weights"] |= {"sha256": found.digest, "size": found.size}
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(zoo.WeightsError, match="is not an index: its sha256 are"):
        zoo.load(directory, pretrained=True)


def test_a_directory_with_an_index_is_published_and_saved_over(in_parts, tmp_path):
    model, directory = in_parts
    staged = stage.stage(directory, tmp_path / "staged", stage.StageOptions())
    assert equal(zoo.load(staged.directory, pretrained=True), model)
    zoo.save(model, directory, overwrite=True)
    assert sorted(path.name for path in directory.iterdir()) == ["config.json", "model.safetensors"]
    assert equal(zoo.load(directory, pretrained=True), model)
    with pytest.raises(zoo.ZooError, match=r"has model\.safetensors and config.json already"):
        zoo.save(model, directory)


@pytest.mark.parametrize("change", ["truncate", "replace"])
def test_a_file_that_changes_between_hash_and_slices_is_refused(tmp_path, monkeypatch, change):
    zoo.save(zoo.load("mlp_mnist"), tmp_path / "model")
    path, place_all = tmp_path / "model" / "model.safetensors", lazy.place_all

    def late(*args):
        os.truncate(path, 200_000)
        return place_all(*args)

    def other(path):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        return converters.read_checkpoint(path)

    if change == "truncate":
        monkeypatch.setattr(lazy, "place_all", late)
    else:
        monkeypatch.setattr("zoo._loading.weights.read_checkpoint", other)
    with pytest.raises(zoo.WeightsError, match=r"(changed|became shorter) while it was read; try again"):
        zoo.load(tmp_path / "model", pretrained=True, sharding=here())


def write_hub(directory, tensors, suffix):
    """A model in the Hub's layout."""
    config = json.loads((ROOT / "tests" / "data" / "configs" / "gpt2.config.json").read_text())
    config |= {"vocab_size": 48, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 4}
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    name = "pytorch_model.bin" if suffix == ".bin" else "model.safetensors"
    converters.write_checkpoint(tensors, directory / name)
    return directory


@pytest.fixture
def gpt2_tensors():
    module, tokens = zoo.gpt2.create(**on_devices.TEXT), jax.ShapeDtypeStruct((1, 8), "int32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes)
    return converters.to_torch(variables, module, tokens, names=zoo.gpt2.TORCH_NAMES["transformers"])


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_the_hubs_layout_is_read_by_slices_with_its_tied_matrix(tmp_path, gpt2_tensors, suffix):
    tensors = gpt2_tensors | {"lm_head.weight": gpt2_tensors["transformer.wte.weight"]}
    directory = write_hub(tmp_path / "gpt2", tensors, suffix)
    plain = zoo.load(directory, pretrained=True)
    sliced = zoo.load(directory, pretrained=True, sharding=here())
    assert equal(plain, sliced)
    assert plain.notes == sliced.notes


def test_a_number_that_is_none_is_refused_in_slices(tmp_path, gpt2_tensors):
    gpt2_tensors["transformer.h.1.mlp.c_fc.weight"][2, 3] = np.nan
    gpt2_tensors["transformer.wpe.weight"][1, :2] = np.inf
    directory = write_hub(tmp_path / "gpt2", gpt2_tensors, ".safetensors")
    message = r"NaN or infinity:\n  transformer\.wpe.weight: 2 values\n  .*\.c_fc\.weight: 1 values"
    with pytest.raises(converters.ConversionError, match=message):
        zoo.load(directory, pretrained=True, sharding=here())


def test_checksums_of_an_archive_are_compared_once(tmp_path, gpt2_tensors, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    directory = write_hub(tmp_path / "gpt2", gpt2_tensors, ".bin")
    path = directory / "pytorch_model.bin"
    extent = converters.read_checkpoint(path).extent("transformer.wpe.weight")
    content = bytearray(path.read_bytes())
    content[extent.offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(zoo.WeightsError, match=r"is damaged \(CRC-32"):
        zoo.load(directory, pretrained=True, sharding=here())
    content[extent.offset] ^= 1
    path.write_bytes(content)
    zoo.load(directory, pretrained=True, sharding=here())
    monkeypatch.setattr(converters.checkpoints.Checkpoint, "verify", pytest.fail)
    zoo.load(directory, pretrained=True, sharding=here())


def test_files_are_filled_in_order(monkeypatch):
    monkeypatch.setattr(shards, "LARGEST", 10)
    sizes = {"a": 4, "b": 6, "c": 1, "d": 20, "e": 9, "f": 1}
    files = shards.layout(sizes)
    assert list(files.values()) == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    assert list(files) == [f"model-0000{index}-of-00004.safetensors" for index in (1, 2, 3, 4)]


@pytest.mark.parametrize("family", ["gpt2", "bert", "vit", "transformer"])
@pytest.mark.parametrize("scan", [True, False])
def test_blocks_saved_in_the_other_way_are_read_by_slices(tmp_path, monkeypatch, family, scan):
    name, config, _ = on_devices.MODELS[family]
    module, entry = build(zoo.info(name), config=config | {"scan": not scan})
    flat, rng = init.shapes(module, entry.inputs), np.random.default_rng(0)
    arrays = {path: rng.standard_normal(leaf.shape).astype(np.float32) for path, leaf in flat.items()}
    saved = replace(entry, weights=None, layout=None, metrics=type(entry.metrics)())
    zoo.save(zoo.Model(module, unflatten(arrays), saved), tmp_path / "model")
    plain = zoo.load(tmp_path / "model", pretrained=True, scan=scan)
    monkeypatch.setattr(slices, "read_box", pytest.fail)
    assert equal(plain, zoo.load(tmp_path / "model", pretrained=True, scan=scan, sharding=here()))
