"""Pretrained weights with another head, or for images of other channels."""

import hashlib
import logging
import re
from dataclasses import replace

import jax
import numpy as np
import pytest

import converters
import zoo
from tests.cases import images
from tests.equivalence import randomise, state_dict
from tests.reference import published, text_models
from tests.support.servers import Files
from tests.zoo.loading.test_transformers_config import BERT, write
from zoo._loading import layouts

pytestmark = pytest.mark.costly

CONFIG = {"head": "classification", "num_classes": 3}


@pytest.fixture(scope="module")
def resnet(saved) -> zoo.Model:
    return zoo.load(saved["resnet20_cifar10"], pretrained=True)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    return write(tmp_path_factory.mktemp("bert") / "bert", BERT, state_dict(twin))


def flat(model: zoo.Model) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(model.variables)}  # fmt: skip


def same(one: zoo.Model, other: zoo.Model, but: tuple[str, ...]) -> bool:
    """Returns true if the same arrays hold the same numbers, but for those of some layers."""
    first, second = (
        {path: array for path, array in flat(model).items() if path.split("/")[1] not in but}
        for model in (one, other)
    )
    return first.keys() == second.keys() and all(np.array_equal(first[path], second[path]) for path in first)


def test_a_head_for_other_classes_is_new_and_said_aloud(saved, resnet, caplog):
    with caplog.at_level(logging.WARNING, "zoo"):
        model = zoo.load(saved["resnet20_cifar10"], pretrained=True, num_classes=3, seed=5)
    note = "initialised anew: params/fc/kernel (64, 3), params/fc/bias (3,)"
    assert model.notes == (note,)
    assert caplog.messages == [f"{model.entry.name}: {note}"]
    assert same(model, resnet, but=("fc",))
    assert model(images(2, 32, 32, 3)).shape == (2, 3)
    assert model.entry.class_names == ()
    assert model.entry.num_params == resnet.entry.num_params - 7 * 65
    other = zoo.load(saved["resnet20_cifar10"], pretrained=True, num_classes=3, seed=6)
    random = zoo.load(saved["resnet20_cifar10"], num_classes=3, seed=5)
    drawn = [flat(each)["params/fc/kernel"] for each in (model, random, other)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_head_for_as_many_classes_is_the_pretrained_one(saved, resnet):
    model = zoo.load(saved["resnet20_cifar10"], pretrained=True, num_classes=10)
    assert model.notes == ()
    assert same(model, resnet, but=())


@pytest.mark.parametrize(("name", "layer"), [("resnet20_cifar10", "fc"), ("cnn_mnist", "fc2")])
def test_without_classes_there_are_features(saved, name, layer):
    whole, model = (zoo.load(saved[name], pretrained=True, **c) for c in ({}, {"num_classes": 0}))
    assert layer not in model.variables["params"]
    assert same(model, whole, but=(layer,))
    pixels, head = images(2, *whole.entry.inputs[0].shape[1:]), whole.variables["params"][layer]
    np.testing.assert_allclose(
        model(pixels) @ head["kernel"] + head["bias"], whole(pixels), rtol=1e-4, atol=1e-5
    )


def test_maps_and_features_leave_the_head_out(saved):
    maps = zoo.load(saved["resnet20_cifar10"], pretrained=True, head="maps", out_indices=[1, 3])
    assert "fc" not in maps.variables["params"]
    assert maps.notes == ("left out the layers of the head 'classification': fc",)
    sizes = [(2, 32, 32, 16), (2, 8, 8, 64)]
    assert [each.shape for each in jax.eval_shape(maps, images(2, 32, 32, 3))] == sizes
    grey = zoo.load(
        saved["resnet20_cifar10"], pretrained=True, head="maps", out_indices=[1, 3], in_channels=1
    )
    assert grey.notes == maps.notes
    assert same(grey, maps, but=("conv1",))
    assert [each.shape for each in jax.eval_shape(grey, images(2, 32, 32, 1))] == sizes


PUBLISHED = """models:
  net:
    family: mobilenet
    config: {{variant: v3_small, width: 0.25, blocks: [[3, 16, 16, relu, 2, true]]}}
    inputs: [{{name: images, shape: [1, 32, 32, 3], dtype: float32}}]
    num_params: {num_params}
    license: MIT
    source: a test
    layout: torchvision
    weights: {{url: {url}, sha256: {sha256}}}
"""


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ({"head": "maps"}, "left out 4 tensors, the other head: classifier.0.weight"),
        ({"head": "none"}, "left out 2 tensors, the other head: classifier.3.weight"),
        ({"num_classes": 0}, "left out 2 tensors, the head: classifier.3.weight"),
    ],
    ids=str,
)
def test_published_classifiers_give_maps_and_features(config, left, use_manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "zoo"))
    net = zoo.mobilenet.create(variant="v3_small", width=0.25, blocks=[(3, 16, 16, "relu", 2, True)])
    variables = net.init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    tensors = converters.to_torch(variables, net, np.zeros((1, 32, 32, 3), np.float32))
    converters.write_checkpoint(tensors, tmp_path / "net.pth")
    content = (tmp_path / "net.pth").read_bytes()
    with Files().serving() as server:
        server.files["/net.pth"] = content
        use_manifest(
            PUBLISHED.format(
                num_params=sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
                url=f"{server.url}/net.pth",
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
        model = zoo.load("net", pretrained=True, **config)
    assert "classifier_3" not in model.variables["params"]
    kept, whole = flat(model), flat(model.replace(variables=variables))
    assert all(np.array_equal(array, whole[path]) for path, array in kept.items())
    assert left in model.notes[0]


def test_only_the_head_may_differ(saved):
    with pytest.raises(zoo.WeightsError, match=r"missing    params/layer1_3/conv1/kernel") as error:
        zoo.load(saved["resnet20_cifar10"], pretrained=True, num_classes=3, depth=32)
    assert "params/fc" not in str(error.value)
    with pytest.raises(zoo.WeightsError, match="misshapen  params/conv1/kernel"):
        zoo.load(saved["resnet20_cifar10"], pretrained=True, num_classes=3, channels=8)


def test_only_without_a_head_may_one_be_left_over():
    model = zoo.load("resnet20_cifar10")
    entry = replace(model.entry, layout="torchvision")
    tensors = converters.to_torch(model.variables, model.module, images(1, 32, 32, 3))
    tensors["linear.weight"] = np.ones((10, 64), np.float32)
    with pytest.raises(converters.ConversionError, match=r"left over  linear\.weight"):
        layouts.fitted(entry, tensors, model.module)
    features = zoo.load("resnet20_cifar10", num_classes=0).module
    assert layouts.fitted(entry, tensors, features, ("fc",)).notes == (
        "left out 3 tensors, the head: fc.weight, fc.bias, linear.weight",
    )


def test_other_channels_keep_what_the_first_kernel_gives(saved, resnet):
    grey, colours = images(2, 32, 32, 1), images(2, 32, 32, 3)
    one, six = (zoo.load(saved["resnet20_cifar10"], pretrained=True, in_channels=n) for n in (1, 6))
    np.testing.assert_allclose(one(grey), resnet(np.repeat(grey, 3, -1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        six(np.concatenate([colours, colours], -1)), resnet(colours), rtol=1e-4, atol=1e-5
    )
    both = zoo.load(saved["resnet20_cifar10"], pretrained=True, in_channels=1, num_classes=0)
    assert both(grey).shape == (2, 64)


def test_a_classifier_is_put_on_a_language_model(bert):
    with pytest.raises(converters.ConversionError, match=r"missing    classifier\.weight"):
        zoo.load(bert, pretrained=True, head="classification")
    model, states = (zoo.load(bert, pretrained=True, **c) for c in (CONFIG, {"head": "none"}))
    _, left_out, new = model.notes
    assert re.fullmatch(r"left out \d+ tensors, the language model's head: .*", left_out)
    assert new.startswith("initialised anew: ")
    assert new.count("params/") == 4
    assert same(model, states, but=("pooler", "classifier"))
    assert model(np.ones((2, 5), np.int32)).logits.shape == (2, 3)


def test_a_classifiers_head_gives_way_to_another(bert, tmp_path):
    twin = randomise(text_models.bert("BertForSequenceClassification")).float()
    config = {**BERT, "architectures": ["BertForSequenceClassification"]}
    directory = write(tmp_path / "classifier", config, state_dict(twin))
    whole, model = (zoo.load(directory, pretrained=True, **c) for c in ({}, {"num_classes": 3}))
    assert same(model, whole, but=("classifier",))  # the pooler stays
    assert [note for note in model.notes if "classifier" in note and "pooler" not in note]
    zoo.save(whole, tmp_path / "saved")
    saved, states = (zoo.load(each, pretrained=True, head="none") for each in (tmp_path / "saved", directory))
    assert same(saved, states, but=())
    assert saved.notes == ("left out the layers of the head 'classification': classifier, pooler",)


def test_a_vision_transformers_head_and_stem_are_adapted(tmp_path):
    twin = randomise(published.transformers_vit("ViTForImageClassification", image_size=32)).float()
    published.write_vit(twin, tmp_path)
    configs = ({}, {"num_classes": 7}, {"in_channels": 1})
    whole, other, grey = (
        zoo.load(tmp_path, pretrained=True, param_dtype="float32", **config) for config in configs
    )
    assert same(other, whole, but=("head",))
    assert other.notes[-1].startswith("initialised anew: params/head/")
    assert same(grey, whole, but=("patch_embed",))
    pixels = images(2, 32, 32, 1)
    assert other(np.repeat(pixels, 3, -1)).shape == (2, 7)
    np.testing.assert_allclose(grey(pixels), whole(np.repeat(pixels, 3, -1)), rtol=1e-4, atol=1e-5)
