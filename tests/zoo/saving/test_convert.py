import dataclasses
import os
import shutil
import signal
import subprocess
import sys

import flax.linen as nn
import jax
import ml_dtypes
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.reference import twins
from zoo._registry.entry import Input
from zoo._saving import save
from zoo._saving.call import Call
from zoo._saving.convert import convert_to
from zoo._saving.export import export
from zoo._variables.tree import flatten, unflatten

NAMES = ("mlp_mnist", "cnn_mnist", "vae_mnist")


def same(variables, others) -> bool:
    one, other = flatten(variables), flatten(others)
    return one.keys() == other.keys() and all(np.array_equal(one[path], other[path]) for path in one)


def litter(directory) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.name.startswith(".")]


@pytest.fixture
def changed(checkpoints, tmp_path):
    """Writes the MLP's checkpoint with some tensors changed."""

    def change(function, name: str = "changed.pth"):
        tensors = dict(converters.read_checkpoint(checkpoints["mlp_mnist"]))
        converters.write_checkpoint(function(tensors), tmp_path / name)
        return tmp_path / name

    return change


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_becomes_a_directory_that_load_takes(name, saved, checkpoints, tmp_path):
    done = convert_to(checkpoints[name], tmp_path / "deep" / "out")
    assert (done.entry.name, done.notes) == (name, ())
    back = zoo.load(tmp_path / "deep" / "out", pretrained=True)
    assert same(back.variables, zoo.load(saved[name], pretrained=True).variables)
    assert back.module == zoo.load(name).module
    assert back.entry.license is None
    assert back.entry.source == f"zoo convert '{name}.pth'"
    assert litter(tmp_path) == []


def test_a_checkpoint_becomes_one_file(saved, checkpoints, tmp_path):
    convert_to(checkpoints["cnn_mnist"], tmp_path / "out.safetensors", model="cnn_mnist")
    arrays = dict(converters.read_checkpoint(tmp_path / "out.safetensors"))
    assert same(unflatten(arrays), zoo.load(saved["cnn_mnist"], pretrained=True).variables)


def test_the_directory_has_what_save_would_write(saved, checkpoints, tmp_path):
    convert_to(checkpoints["vae_mnist"], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]
    assert os.stat(tmp_path / "out").st_mode & 0o777 == os.stat(saved["vae_mnist"]).st_mode & 0o777
    found, expected = zoo.info(tmp_path / "out"), zoo.info(saved["vae_mnist"])
    assert found.weights.size == expected.weights.size
    assert dataclasses.replace(found, weights=None, license=None, source=None) == dataclasses.replace(
        expected, weights=None, license=None, source=None
    )


@pytest.mark.parametrize("name", NAMES)
def test_export_gives_the_checkpoint_back_byte_for_byte(name, checkpoints, tmp_path):
    convert_to(checkpoints[name], tmp_path / "out")
    export(tmp_path / "out", tmp_path / "plain.pth")
    export(tmp_path / "out", tmp_path / "like.pth", like=checkpoints[name])
    for back in ("plain.pth", "like.pth"):
        assert (tmp_path / back).read_bytes() == checkpoints[name].read_bytes()


def test_export_like_a_checkpoint_restores_prefixes_and_counters(changed, tmp_path):
    source = changed(
        lambda tensors: (
            {f"module.{name}": tensor for name, tensor in tensors.items()}
            | {"module.num_batches_tracked": np.array(7)}
        )
    )
    done = convert_to(source, tmp_path / "out")
    assert done.notes == (
        "took the prefix 'module.' off every name",
        "left out 1 tensor that Flax has no array for: module.num_batches_tracked",
    )
    export(tmp_path / "out", tmp_path / "back.pth", like=source)
    assert (tmp_path / "back.pth").read_bytes() == source.read_bytes()


def test_a_converted_file_is_exported_as_the_entry_whose_arrays_it_has(checkpoints, tmp_path):
    convert_to(checkpoints["vae_mnist"], tmp_path / "out.safetensors")
    export(tmp_path / "out.safetensors", tmp_path / "back.pth")
    assert (tmp_path / "back.pth").read_bytes() == checkpoints["vae_mnist"].read_bytes()
    state_dict = torch.load(tmp_path / "back.pth", weights_only=True)
    assert len(state_dict) == 18


def test_floats_are_cast_if_asked(checkpoints, tmp_path):
    convert_to(checkpoints["mlp_mnist"], tmp_path / "out", dtype="bfloat16")
    arrays = zoo.load(tmp_path / "out", pretrained=True).variables
    assert {array.dtype for array in jax.tree.leaves(arrays)} == {np.dtype(ml_dtypes.bfloat16)}
    with pytest.raises(zoo.ZooError, match="dtype=int8 is not a floating-point dtype"):
        convert_to(checkpoints["mlp_mnist"], tmp_path / "int", dtype="int8")


def test_a_module_of_ones_own_is_converted_with_names_and_inputs(changed, tmp_path):
    class Mine(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.relu(nn.Dense(128)(x))
            return nn.Dense(10)(x)

    names = ((r"^Dense_(\d)", r"layers.\1"),)
    inputs = [Input("x", (1, 784), "float32")]
    source = changed(lambda tensors: tensors)
    convert_to(source, tmp_path / "out", module=Mine(), call=Call(inputs=inputs), names=names)
    model = zoo.load(tmp_path / "out", module=Mine(), pretrained=True)
    assert model.entry.name == "Mine"
    for way in ({"names": names}, {"like": source}, {}):  # the directory keeps the names
        export(tmp_path / "out", tmp_path / "back.pth", module=Mine(), overwrite=True, **way)
        assert (tmp_path / "back.pth").read_bytes() == source.read_bytes()
    more = changed(lambda tensors: {**tensors, "teacher.weight": np.ones(3, np.float32)}, "more.pth")
    with pytest.raises(converters.ConversionError, match=r"left over  teacher\.weight"):
        export(tmp_path / "out", tmp_path / "like.pth", module=Mine(), like=more)
    export(tmp_path / "out", tmp_path / "like.pth", module=Mine(), like=more, ignore=[r"teacher\..*"])
    assert (tmp_path / "like.pth").read_bytes() == more.read_bytes()


def test_another_model_than_named_is_told(checkpoints, tmp_path):
    with pytest.raises(converters.ConversionError) as caught:
        convert_to(checkpoints["cnn_mnist"], tmp_path / "out", model="vae_mnist")
    assert str(caught.value).startswith("the state dict does not fit VAE:")
    assert str(caught.value).endswith("it looks like 'cnn_mnist'")
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_over_is_refused_unless_ignored(changed, tmp_path):
    source = changed(lambda tensors: {**tensors, "teacher.weight": np.ones(3, np.float32)})
    with pytest.raises(converters.ConversionError, match=r"left over  teacher\.weight"):
        convert_to(source, tmp_path / "out", model="mlp_mnist")
    convert_to(source, tmp_path / "out", model="mlp_mnist", ignore=[r"teacher\..*"])
    convert_to(source, tmp_path / "recognised", ignore=[r"teacher\..*"])


def test_nan_and_infinity_are_refused_by_name_and_leave_nothing(changed, tmp_path):
    def spoil(tensors):
        tensors["layers.1.bias"] = tensors["layers.1.bias"].copy()
        tensors["layers.1.bias"][:3] = [np.nan, np.inf, -np.inf]
        return tensors

    source = changed(spoil)
    for out in ("out", "out.safetensors"):
        with pytest.raises(converters.ConversionError, match=r"layers\.1\.bias: 3 values"):
            convert_to(source, tmp_path / out)
        assert [path.name for path in tmp_path.iterdir()] == ["changed.pth"]
    convert_to(source, tmp_path / "out", allow_nonfinite=True)


def test_flax_weights_are_not_converted_again(saved, tmp_path):
    for module, inputs in ((None, ()), (nn.Dense(3), [Input("x", (1, 3), "float32")])):
        with pytest.raises(zoo.ZooError, match="holds Flax variables already"):
            convert_to(
                saved["mlp_mnist"] / "model.safetensors",
                tmp_path / "out",
                module=module,
                call=Call(inputs=inputs),
            )
    lone = tmp_path / "lone.safetensors"
    shutil.copy(saved["mlp_mnist"] / "model.safetensors", lone)
    for refused in (lambda: convert_to(lone, tmp_path / "out"), lambda: zoo.load(lone)):
        with pytest.raises(zoo.ZooError, match=r"without the config\.json .* put both into one directory"):
            refused()
    with pytest.raises(zoo.UnknownModelError, match=r"holds the variables of the model in .*; name that dir"):
        zoo.load(saved["mlp_mnist"] / "model.safetensors")
    flat = dict(converters.read_checkpoint(saved["mlp_mnist"] / "model.safetensors"))
    with pytest.raises(converters.ConversionError, match="holds Flax variables already"):
        converters.convert(flat, nn.Dense(3), np.ones((1, 3), np.float32))


def test_pytorch_tensors_are_not_exported_or_loaded_as_flax(changed, saved, tmp_path):
    source = changed(lambda tensors: tensors, "source.safetensors")
    with pytest.raises(zoo.ZooError, match=r"holds PyTorch tensors already, such as 'layers\.0\.weight'"):
        export(source, tmp_path / "back.pth")
    entry = zoo.info(saved["mlp_mnist"])
    save.write(tmp_path / "odd", entry, lambda path: path.write_bytes(source.read_bytes()), overwrite=False)
    with pytest.raises(zoo.WeightsError, match=r"has PyTorch tensors for weights, .*zoo convert"):
        zoo.load(tmp_path / "odd", pretrained=True)


def test_an_unknown_layout_is_refused(saved, tmp_path):
    with pytest.raises(zoo.ManifestError, match="has layout 'timm'; family 'mlp' knows none"):
        export(saved["mlp_mnist"], tmp_path / "back.pth", layout="timm")


def test_an_existing_output_stays_unless_it_may_be_overwritten(checkpoints, tmp_path):
    out, file = tmp_path / "out", tmp_path / "out.safetensors"
    for target in (out, file):
        convert_to(checkpoints["mlp_mnist"], target)
    (out / save.GOLDEN).write_text("of other weights")
    (out / "README.md").write_text("the user's own")
    before = (out / "model.safetensors").read_bytes(), file.read_bytes()
    with pytest.raises(zoo.ZooError, match=r"has model\.safetensors and config\.json already"):
        convert_to(checkpoints["cnn_mnist"], out)
    with pytest.raises(converters.CheckpointError, match="exists already"):
        convert_to(checkpoints["cnn_mnist"], file)
    assert ((out / "model.safetensors").read_bytes(), file.read_bytes()) == before
    for target in (out, file):
        convert_to(checkpoints["cnn_mnist"], target, overwrite=True)
    assert zoo.load(out, pretrained=True).entry.name == "cnn_mnist"
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert litter(tmp_path) == []


@pytest.mark.parametrize("depth", [20, 32])
def test_cifar_resnets_convert_from_the_form_in_which_they_are_published(depth, tmp_path):
    """An old file of a DataParallel model, with its accuracy beside it and without counters of batches."""
    tensors = {
        f"module.{name}": tensor
        for name, tensor in twins.CifarResNet(depth).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    file = tmp_path / "published.th"
    torch.save({"state_dict": tensors, "best_prec1": 92.0}, file, _use_new_zipfile_serialization=False)
    name = f"resnet{depth}_cifar10"
    for out, asked in (("asked", name), ("recognised", None)):
        assert convert_to(file, tmp_path / out, model=asked).entry.name == name
        assert zoo.load(tmp_path / out, pretrained=True).module == zoo.load(name).module
    export(tmp_path / "asked", tmp_path / "back.pth", like=file)
    back = converters.read_checkpoint(tmp_path / "back.pth")
    assert list(back) == list(tensors)
    assert all(np.array_equal(back[key], tensor.numpy()) for key, tensor in tensors.items())


@pytest.mark.parametrize("odd", [b"\xff\n.pth", "ü -x.pth".encode()])
def test_odd_file_names_do_no_harm(odd, changed, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), odd)
    os.rename(changed(lambda tensors: tensors), path)
    convert_to(os.fsdecode(path), tmp_path / os.fsdecode(odd + b"out"))
    assert zoo.load(tmp_path / os.fsdecode(odd + b"out"), pretrained=True).entry.family == "mlp"


@pytest.mark.parametrize("kind", ["a file", "below a file", "a long name"])
def test_a_place_where_no_directory_can_be_is_refused(kind, checkpoints, tmp_path):
    (tmp_path / "file").write_text("")
    places = {"a file": "file", "below a file": "file/out", "a long name": "x" * 300}
    with pytest.raises((zoo.ZooError, OSError)):
        convert_to(checkpoints["mlp_mnist"], tmp_path / places[kind])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


CHILD = """
import os, resource, signal, sys
from zoo._saving.convert import convert_to
source, out, what = sys.argv[1:]
def report(done, total):
    if what.isdigit():
        os.kill(os.getpid(), int(what))
if what == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
convert_to(source, out, overwrite=True, report=report)
"""


def child(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-c", CHILD, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("what", ["full", signal.SIGKILL.value, signal.SIGTERM.value])
@pytest.mark.parametrize("place", ["out", "out.safetensors", "new", "new.safetensors"])
def test_a_conversion_that_ends_early_leaves_the_earlier_output(what, place, checkpoints, tmp_path):
    for out in ("out", "out.safetensors"):
        convert_to(checkpoints["mlp_mnist"], tmp_path / out)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = child(checkpoints["cnn_mnist"], tmp_path / place, what)
    assert done.returncode == {"full": 1, signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}[what]
    assert "File too large" in done.stderr or what != "full"
    assert all(path.read_bytes() == content for path, content in files.items())
    left = {path for path in tmp_path.rglob("*") if path.is_file()} - files.keys()
    # Nothing can be done after SIGKILL, but what it leaves has no name that anybody would take for weights.
    assert not left or what == signal.SIGKILL
    assert all(".tmp" in str(path.relative_to(tmp_path)) for path in left)
    assert not (tmp_path / "new").exists()
