"""Directories and repositories that timm wrote."""

import json
import re

import numpy as np
import pytest
import torch

import zoo
from tests.equivalence import randomise
from tests.reference import published
from zoo._loading import timm_config

NAMES = ("cat", "dog", "owl")


def written(directory, model, **options):
    """The directory in which timm has saved a model, beside `pytorch_model.bin`."""
    published.declare_operators()
    from timm.models import save_for_hf

    save_for_hf(model, directory, safe_serialization=True, **options)
    return directory


def changed(directory, **fields):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.fixture(scope="module")
def vit():
    options = {"img_size": 32, "depth": 1, "num_classes": 3, "global_pool": "avg"}
    return randomise(published.timm_model("vit_tiny_patch16_224", **options)).float().eval()


@pytest.fixture
def directory(vit, tmp_path):
    return written(tmp_path / "vit", vit, model_config={"label_names": [*NAMES]})


def agrees(model, twin, side=32):
    images = np.random.default_rng(0).standard_normal((2, side, side, 3)).astype(np.float32)
    ours = np.asarray(model.module.apply(model.variables, images))
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    return np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_a_directory_is_read_with_its_arguments_labels_and_preprocessing(vit, directory):
    model = zoo.load(directory, pretrained=True)
    assert agrees(model, vit)
    entry = zoo.info(directory)
    assert (entry.family, entry.layout, entry.class_names) == ("vit", "timm", NAMES)
    assert entry.config["pooling"] == "average"
    assert entry.num_params == sum(each.numel() for each in vit.parameters())
    how = entry.preprocess
    assert (how.resize, how.crop, how.interpolation, how.mean) == (35, 32, "bicubic", (0.5,) * 3)
    assert entry.license == "Apache-2.0"


def test_a_repository_is_read_and_then_offline(hub, cache, offline, directory, vit):
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    hub.commit("timm/one", files)
    assert agrees(zoo.load("hf://timm/one", pretrained=True), vit)
    offline()
    assert agrees(zoo.load("hf://timm/one", pretrained=True), vit)
    assert zoo.info("hf://timm/one").weights.file == "model.safetensors"


def test_early_files_and_those_without_safetensors_are_read(tmp_path):
    """These have the record of the weights at the top."""
    twin = randomise(published.timm_model("regnetx_002", num_classes=3)).float().eval()
    directory = written(tmp_path / "net", twin)
    config = json.loads((directory / "config.json").read_text())
    early = {**config["pretrained_cfg"], "architecture": "regnetx_002", "num_classes": 3}
    (directory / "config.json").write_text(json.dumps(early))
    torch.save(twin.state_dict(), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    model = zoo.load(directory, pretrained=True)
    assert agrees(model, twin)
    assert (model.entry.class_names, model.entry.preprocess.resize) == ((), 256)


def test_the_manifests_classes_are_those_of_as_many(directory):
    changed(directory, num_classes=1000, label_names=None, model_args={"depth": 1})
    assert zoo.info(directory).classes == "imagenet1k"
    changed(directory, num_classes=7)
    assert zoo.info(directory).classes is None


def entry_of(architecture="vit_tiny_patch16_224", record=(), **fields):
    """The entry of a config.json, which needs no weights."""
    record = {"input_size": [3, 32, 32], **dict(record)}
    config = {"architecture": architecture, "pretrained_cfg": record, **fields}
    return timm_config.entry("it", json.dumps(config).encode(), lambda file: None)


def test_the_arguments_count_before_the_file_and_this_before_its_record():
    record = {"num_classes": 9}
    assert entry_of(record=record).config["num_classes"] == 9
    assert entry_of(record=record, num_classes=7).config["num_classes"] == 7
    assert entry_of(record=record, num_classes=7, model_args={"num_classes": 5}).config["num_classes"] == 5
    labeled = entry_of(num_classes=1000, label_names=[f"class {index}" for index in range(1000)])
    assert (labeled.classes, labeled.class_names[-1]) == (None, "class 999")
    # The names are those of the entry with as many, whatever the tag says.
    assert (
        entry_of("vit_base_patch16_224", {"tag": "augreg_in1k"}, num_classes=21843).classes == "imagenet21k"
    )


def test_the_images_are_those_of_the_record():
    grey = entry_of(record={"input_size": [1, 32, 48], "mean": [0.5], "std": [0.5], "crop_mode": "squash"})
    assert (grey.config["in_channels"], grey.config["image_size"]) == (1, (32, 48))
    assert grey.inputs[0].shape == (1, 32, 48, 1)
    assert (grey.preprocess.resize, grey.preprocess.crop) == ((36, 54), (32, 48))
    assert entry_of(record={"crop_mode": "squash"}).preprocess.resize == (36, 36)
    assert entry_of(record={"crop_mode": "border"}).preprocess is None
    assert entry_of(record={"input_size": [3, 32, 48]}).preprocess is None


FAULTS = {
    "architecture": ({"architecture": "vit_tiny_patch16_2240"}, "the nearest are 'vit_tiny_patch16_224'"),
    "argument": ({"model_args": {"qk_norm": True}}, "model_args, qk_norm: True; the zoo does not read it"),
    "pooling": ({"global_pool": "avgmax"}, "global_pool: 'avgmax'; the zoo has avg, map, token"),
    "width": (
        {"architecture": "vit_giant_patch14_clip_224", "model_args": {"embed_dim": 64}},
        "model_args, embed_dim: 64; the zoo has 'vit_giant_patch14_clip_224.laion2b' with its own width only",
    ),
    "size": ({"pretrained_cfg": {"input_size": [3]}}, "input_size: [3]; expected channels, height and width"),
}


@pytest.mark.parametrize(("fields", "message"), FAULTS.values(), ids=FAULTS)
def test_what_the_zoo_lacks_is_named(directory, fields, message):
    changed(directory, **{"model_args": {}, **fields})
    with pytest.raises(zoo.ManifestError, match=re.escape(message)):
        zoo.load(directory)


def test_a_license_that_forbids_commercial_use_is_said(directory, caplog):
    path = directory / "config.json"
    record = json.loads(path.read_text())["pretrained_cfg"]
    for license_, says in (("cc-by-nc-4.0", True), ("seer-license", True), ("mit", False)):
        caplog.clear()
        changed(directory, pretrained_cfg={**record, "license": license_})
        notes = zoo.load(directory, pretrained=True).notes
        assert any("forbids commercial use" in note for note in notes) is says
        assert ("forbids commercial use" in caplog.text) is says
        zoo.load(directory)  # new arrays are nobody's
        assert caplog.text.count("forbids commercial use") == says
