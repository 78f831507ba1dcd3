"""Models as PyTorch files and folders keep them, there and back."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

import converters
import zoo
from tests.equivalence import randomise
from tests.reference import published
from tests.zoo.saving.test_transformers_folder import MODELS
from zoo._saving.convert import convert_to
from zoo._saving.export import export
from zoo._saving.save import GOLDEN
from zoo._variables.tree import flatten

TOKENIZER = b'{"model": {}}'


def same(one: Any, other: Any) -> bool:
    one, other = flatten(one), flatten(other)
    return one.keys() == other.keys() and all(np.array_equal(one[path], other[path]) for path in one)


@pytest.mark.parametrize("name", ["ViTForImageClassification", "RobertaForTokenClassification"])
def test_a_folder_of_transformers_is_converted_as_it_is_loaded_and_comes_back(name, tmp_path):
    published.declare_operators()
    import transformers

    cls, folder, out = getattr(transformers, name), tmp_path / "theirs", tmp_path / "out"
    randomise(cls(cls.config_class(**MODELS[name]))).float().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2, 0.3], "size": 16}')
    (folder / "tokenizer.json").write_bytes(TOKENIZER)
    (folder / GOLDEN).write_bytes(b"golden")
    model = zoo.load(folder, pretrained=True)
    assert convert_to(folder, out).entry.name == "theirs"
    again = zoo.load(out, pretrained=True)
    assert again.module == model.module
    assert same(again.variables, model.variables)
    assert (again.entry.preprocess, again.entry.labels) == (model.entry.preprocess, model.entry.labels)
    assert (out / "tokenizer.json").exists() == again.entry.takes_tokens
    assert (out / GOLDEN).read_bytes() == b"golden"
    convert_to(folder, tmp_path / "narrow", dtype="bfloat16")
    assert not (tmp_path / "narrow" / GOLDEN).exists()
    tensors = dict(converters.read_checkpoint(folder / "model.safetensors"))
    for source in (out, folder):
        export(source, tmp_path / f"{source.name}.safetensors")
        assert same(dict(converters.read_checkpoint(tmp_path / f"{source.name}.safetensors")), tensors)
    assert same(zoo.to_torch(model), tensors)
    assert same(zoo.convert(folder).variables, model.variables)
    done = convert_to(folder, tmp_path / "one.safetensors")
    assert "has no place for" in done.notes[-1]


def test_a_model_has_the_names_of_its_own_library_unless_others_are_asked_for():
    small = {"image_size": 16, "patch_size": 8, "width": 24, "depth": 1, "heads": 3, "num_classes": 5}
    module = zoo.vit.create(**small)
    shapes = jax.eval_shape(module.init, jax.random.key(0), np.ones((1, 16, 16, 3), np.float32))
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    model = zoo.Model(module, variables, dataclasses.replace(zoo.info("vit_tiny_patch16_224"), config=small))
    twin = published.timm_vit(img_size=16, depth=1, num_classes=5, mlp_ratio=4)
    assert zoo.to_torch(model).keys() == twin.state_dict().keys()
    assert "conv_proj.weight" in zoo.to_torch(model, layout="torchvision")
    with pytest.raises(zoo.ManifestError, match="has layout 'keras'; family 'vit' knows timm"):
        zoo.to_torch(model, layout="keras")
    assert zoo.to_torch("mlp_mnist").keys() == zoo.to_torch(zoo.load("mlp_mnist")).keys()
    own = zoo.Model(nn.Dense(2), nn.Dense(2).init({"params": np.zeros(2, np.uint32)}, np.ones((1, 3))))
    with pytest.raises(zoo.ZooError, match=r"is a module of your own; converters\.to_torch takes it"):
        zoo.to_torch(own)


def test_a_model_in_memory_is_that_of_the_file_and_goes_back_like_it(checkpoints, saved, tmp_path):
    tensors = {
        f"module.{name}": each for name, each in converters.read_checkpoint(checkpoints["cnn_mnist"]).items()
    }
    converters.write_checkpoint(tensors, tmp_path / "wrapped.pth")
    model = zoo.convert(tmp_path / "wrapped.pth", labels=[*"abcdefghij"], preprocess="resnet18")
    assert model.notes == ("fits 'cnn_mnist'", "took the prefix 'module.' off every name")
    assert same(model.variables, zoo.load(saved["cnn_mnist"], pretrained=True).variables)
    assert (model.entry.class_names, model.entry.preprocess.resize) == (tuple("abcdefghij"), 256)
    assert same(zoo.to_torch(model, like=tmp_path / "wrapped.pth"), tensors)
    zoo.save(model, tmp_path / "out")
    assert zoo.load(tmp_path / "out").entry.labels == tuple("abcdefghij")
    with pytest.raises(zoo.ZooError, match="labels=2 names; expected a name for each of the 10 classes"):
        zoo.convert(tmp_path / "wrapped.pth", labels=["a", "b"])
    with pytest.raises(zoo.ZooError, match="has no place for labels=; choose a directory"):
        convert_to(tmp_path / "wrapped.pth", tmp_path / "a.safetensors", labels=[*"abcdefghij"])


def test_a_named_model_takes_the_classes_of_the_file(checkpoints, tmp_path):
    tensors = dict(converters.read_checkpoint(checkpoints["cnn_mnist"]))
    for name in ("fc2.weight", "fc2.bias"):
        tensors[name] = np.concatenate([tensors[name]] * 2)
    converters.write_checkpoint(tensors, tmp_path / "twice.pth")
    found = zoo.convert(tmp_path / "twice.pth", model="cnn_mnist")
    assert (found.module.num_classes, found.notes) == (20, ("fits 'cnn_mnist' with num_classes=20",))
    with pytest.raises(
        converters.ConversionError, match=r"misshapen  fc2\.weight: \(20, 256\) for \(9, 256\)"
    ):
        zoo.convert(tmp_path / "twice.pth", model="cnn_mnist", num_classes=9)
