"""preprocessor_config.json, against transformers' own processors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.reference import published
from tests.zoo.preprocessing.test_preprocess import photo
from zoo._loading.preprocessing import preprocessing
from zoo._loading.preprocessor_config import photos
from zoo._preprocessing.photos import fitted

SIZES = [(61, 43), (45, 128), (56, 56), (57, 55), (9, 23)]
SAID: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", {}),
    "vit, one number": ("ViTImageProcessor", {"size": 40}),
    "vit, not square": ("ViTImageProcessor", {"size": {"height": 40, "width": 61}}),
    "vit, [0, 1]": ("ViTImageProcessor", {"size": 40, "do_normalize": False}),
    "vit, [-1, 1]": ("ViTImageProcessor", {"size": 40, "do_normalize": False, "rescale_factor": 1 / 127.5}),
    "vit, not rescaled": ("ViTImageProcessor", {"size": 40, "do_rescale": False, "image_mean": [9, 8, 7]}),
    "vit, null": ("ViTImageProcessor", {"size": 40, "do_resize": None}),
    "vit, own crop": ("ViTImageProcessor", {"size": 40, "do_center_crop": True, "crop_size": 31}),
    **{f"vit, filter {index}": ("ViTImageProcessor", {"size": 40, "resample": index}) for index in range(6)},
    "beit": ("BeitImageProcessor", {"size": 50, "do_center_crop": True, "crop_size": 37}),
    "beit, defaults": ("BeitImageProcessor", {}),
    "deit": ("DeiTImageProcessor", {"size": 50, "crop_size": 37}),
    "deit, defaults": ("DeiTImageProcessor", {}),
    "deit, whole": ("DeiTImageProcessor", {"size": 50, "do_center_crop": False}),
    "deit, not resized": ("DeiTImageProcessor", {"do_resize": False, "crop_size": 30}),
    "bit": ("BitImageProcessor", {"size": {"shortest_edge": 61}, "crop_size": {"height": 56, "width": 50}}),
    "bit, defaults": ("BitImageProcessor", {}),
    "bit, numbers": ("BitImageProcessor", {"size": 64, "crop_size": 57}),
    "bit, larger than the picture": ("BitImageProcessor", {"size": 40, "crop_size": 57}),
    "clip": ("CLIPImageProcessor", {"size": 48, "crop_size": 48}),
    "convnext": ("ConvNextImageProcessor", {"size": 96}),
    "convnext, large": ("ConvNextImageProcessor", {}),
    "convnext, crop_pct": ("ConvNextImageProcessor", {"size": {"shortest_edge": 97}, "crop_pct": 0.95}),
}


def steps(said: dict[str, Any], kind: str, processor: Any) -> float:
    """Largest difference from the processor, in steps of 1 / 255."""
    how = photos("it", json.dumps({"image_processor_type": kind, **said}).encode(), "", 3)
    worst = 0.0
    for seed, size in enumerate(SIZES):
        picture = photo(*size, seed)
        theirs = np.moveaxis(np.asarray(processor(picture, return_tensors="np")["pixel_values"][0]), 0, -1)
        ours = fitted(picture, how)
        assert ours.shape == theirs.shape
        worst = max(worst, float((np.abs(ours - theirs) * 255 * np.array(how.std)).max()))
    return worst


@pytest.mark.parametrize(("kind", "said"), SAID.values(), ids=SAID)
def test_pictures_become_what_the_processor_on_pillow_makes_of_them(kind, said):
    assert steps(said, kind, published.processor(f"{kind}Pil", **said)) < 1e-3


@pytest.mark.parametrize("name", ["vit", "vit, not square", "bit, numbers"])
def test_the_processor_on_torchvision_is_one_step_away_at_most(name):
    kind, said = SAID[name]
    said = {**said, "resample": 2}
    assert steps(said, kind, published.processor(kind, **said)) < 1.001


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ({"feature_extractor_type": "DeiTFeatureExtractor", "size": 50}, {"size": 50}),
        ({"image_processor_type": "DeiTImageProcessorFast", "size": [50, 50]}, {"size": 50}),
        ({"size": 50, "resample": None, "_processor_class": "x"}, {"size": 50}),
    ],
    ids=["older name", "fast", "no name"],
)
def test_a_type_goes_by_several_names(said, same):
    assert photos("it", json.dumps(said).encode(), "DeiTImageProcessor", 3) == photos(
        "it", json.dumps(same).encode(), "DeiTImageProcessor", 3
    )


def test_gray_pictures_have_one_channel():
    said = {"size": 9, "image_mean": [0.2], "image_std": [0.5]}
    how = photos("it", json.dumps(said).encode(), "ViTImageProcessor", 1)
    picture = photo(9, 9).convert("L")
    expected = (np.asarray(picture, np.float32)[..., None] / 255 - 0.2) / 0.5
    np.testing.assert_allclose(fitted(picture, how), expected, atol=1e-6)


REFUSED = {
    "type": ({"image_processor_type": "Mask2FormerImageProcessor"}, "is of a Mask2FormerImageProcessor; the"),
    "longest edge": ({"size": {"longest_edge": 9}}, "the zoo knows height and width, or shortest_edge"),
    "size": ({"size": {"height": 0, "width": 3}}, "expected numbers of pixels"),
    "three sizes": ({"size": [1, 2, 3]}, "too many values"),
    "filter": ({"resample": 9}, "resample: 9; expected 0 to 5"),
    "padding": ({"do_pad": True}, "the zoo pads no pictures"),
    "colors": ({"image_mean": [0.5]}, r"image_mean: \[0.5\]"),
    "no width": ({"image_std": [0, 1, 1]}, "expected numbers above 0"),
    "a word": ({"image_std": ["a", 1, 1]}, "could not convert"),
    "no factor": ({"rescale_factor": 0}, "by zero"),
    "square": (
        {"image_processor_type": "ConvNextImageProcessor", "size": {"height": 9, "width": 9}},
        "short",
    ),
}


@pytest.mark.parametrize(("said", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_zoo_does_not_do_is_refused(said, message):
    with pytest.raises(zoo.ManifestError, match=message):
        photos("it", json.dumps(said).encode(), "ViTImageProcessor", 3)
    with pytest.raises(zoo.ManifestError, match="the images have 4 channels"):
        photos("it", b"{}", "ViTImageProcessor", 4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """A classifier as transformers saves it, with the file of an older processor."""
    directory = tmp_path_factory.mktemp("vit")
    twin = published.transformers_vit("ViTForImageClassification", image_size=32, num_labels=2)
    type(twin).__mro__[1](twin.config).save_pretrained(directory)
    said = {"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "resample": 2}
    (directory / "preprocessor_config.json").write_text(json.dumps(said))
    return directory


def test_a_repository_of_pictures_is_preprocessed_and_saved_with_it(directory, tmp_path):
    picture = photo(70, 50)
    found = zoo.preprocess(directory)(picture)
    processor = published.processor("ViTImageProcessorPil", size=32)
    theirs = np.moveaxis(np.asarray(processor(picture, return_tensors="np")["pixel_values"]), 1, -1)
    np.testing.assert_allclose(found, theirs, atol=1e-6)
    zoo.save(zoo.load(directory, pretrained=True), tmp_path / "saved")
    np.testing.assert_array_equal(zoo.preprocess(tmp_path / "saved")(picture), found)


def test_an_unknown_processor_refuses_pictures_but_not_the_model(directory, tmp_path):
    for file in directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "OwnProcessor"}')
    assert zoo.load(tmp_path, pretrained=True).module.num_classes == 2
    with pytest.raises(zoo.ManifestError, match="is of a OwnProcessor; the zoo has ViT"):
        zoo.preprocess(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(zoo.ZooError, match="does not say how images become its input"):
        zoo.preprocess(tmp_path)


def test_pictures_in_their_own_sizes_are_stacked_if_they_are_equal(directory, tmp_path):
    for file in directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text('{"do_resize": false}')
    preprocess = zoo.preprocess(tmp_path)
    assert preprocess([Image.new("RGB", (8, 16))] * 2).shape == (2, 16, 8, 3)
    with pytest.raises(zoo.ZooError, match=r"these have \(8, 8, 3\) and \(16, 8, 3\)"):
        preprocess([Image.new("RGB", (8, 16)), Image.new("RGB", (8, 8))])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"resize": [28, 28], "mean": [0.1307]}, "interpolation: missing"),
        ({"nonsense": 1}, "nonsense: unknown field"),
        ({"resize": [28, 28], "image_mean": [0.5]}, "image_mean: unknown field"),
        ({"resize": [16, 16], "interpolation": "bilinear", "mena": [0.5]}, "did you mean 'mean'"),
    ],
)
def test_fields_that_are_no_preprocessors_are_not_dropped(how, message):
    with pytest.raises(zoo.ZooError, match=message):
        preprocessing(how)
