"""Photos as model input, against torchvision's transforms."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image

import converters
import zoo
from tests.equivalence import state_dict
from tests.reference.published import declare_operators, torchvision_resnet
from zoo import resnet
from zoo._registry.families import family

SIZES = [
    (301, 201),
    (227, 641),
    (224, 224),
    (225, 223),
    (37, 91),
    (1, 1),
    (1025, 767),
    (256, 256),
    (231, 232),
]
SIZES += [(19, 333)]


def photo(width, height, seed=0):
    """Smooth shapes with noise on them: neither resampling nor cropping is hidden."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize((width, height))
    noise = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse, int) + noise, 0, 255).astype(np.uint8))


def transform(how):
    declare_operators()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    return ImageClassification(
        crop_size=how.crop,
        resize_size=how.resize,
        mean=how.mean,
        std=how.std,
        interpolation=InterpolationMode(how.interpolation),
    )


FEW = ["resnet50.tv1_in1k", "resnet50.tv2_in1k", "resnet50.a1_in1k"]
TORCHVISIONS = [zoo.info(name) for name in zoo.list_models(pretrained=True)]
TORCHVISIONS = [entry for entry in TORCHVISIONS if "download.pytorch.org" in str(entry.weights)]
DISTINCT = {entry.preprocess: entry.name for entry in TORCHVISIONS}.values()


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in DISTINCT)])
def test_photos_of_odd_sizes_become_what_torchvisions_transforms_make_of_them(name):
    how = zoo.info(name).preprocess
    pictures = [photo(*size, seed) for seed, size in enumerate(SIZES)]
    expected = np.stack([transform(how)(picture).numpy().transpose(1, 2, 0) for picture in pictures])
    found = zoo.preprocess(name)(pictures)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (10, how.crop, how.crop, 3)
    steps = np.abs(found - expected) * how.std * 255  # of uint8 pixels
    assert steps.max() < 1 / 100


def test_the_logits_after_it_are_torchvisions(tmp_path):
    """The whole way of `zoo predict`, from a file."""
    theirs = torchvision_resnet("resnet18").eval()
    module = zoo.load("resnet18").module
    path = tmp_path / "photo.png"
    photo(301, 201).save(path)
    images = zoo.preprocess("resnet18")(path)
    variables = converters.convert(
        state_dict(theirs), module, images, names=resnet.TORCH_NAMES["torchvision"]
    )
    with torch.no_grad():
        expected = theirs(transform(zoo.info("resnet18").preprocess)(Image.open(path))[None]).numpy()
    assert np.abs(np.asarray(module.apply(variables, images)) - expected).max() <= 1e-4


def test_small_images_stay_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    found = zoo.preprocess("resnet20_cifar10")(pixels)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(found, (pixels / 255 - mean) / std, atol=1e-6)


def test_one_picture_in_any_form_gives_the_same_batch(tmp_path):
    preprocess = zoo.preprocess(zoo.info("resnet18"))
    picture = photo(300, 260)
    picture.save(tmp_path / "photo.png")
    expected = preprocess(picture)
    assert expected.shape == (1, 224, 224, 3)
    pixels = np.asarray(picture)
    for same in (
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        pixels,
        pixels[None],
        [pixels],
        (picture,),
    ):
        np.testing.assert_array_equal(preprocess(same), expected)


def test_pictures_without_colours_or_with_more_are_read():
    preprocess = zoo.preprocess("resnet18")
    grey = photo(230, 240).convert("L")
    expected = preprocess(grey)
    for same in (np.asarray(grey), np.asarray(grey)[..., None], grey.convert("RGBA"), grey.convert("P")):
        np.testing.assert_array_equal(preprocess(same), expected)
    palette = grey.convert("P")
    palette.info["transparency"] = bytes(range(256))
    np.testing.assert_array_equal(preprocess(palette), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_are_not_black(dtype, tmp_path):
    preprocess, pixels = zoo.preprocess("resnet18"), np.asarray(photo(230, 240))
    found = preprocess((pixels / 255).astype(dtype))
    np.testing.assert_array_equal(found, preprocess(pixels))
    Image.fromarray((pixels[..., 0] / 255).astype(np.float32)).save(tmp_path / "gray.tiff")
    np.testing.assert_array_equal(preprocess(tmp_path / "gray.tiff"), preprocess(pixels[..., 0]))


def test_a_photo_that_a_camera_stored_sideways_is_upright(tmp_path):
    picture = photo(300, 260)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.png", exif=exif)
    preprocess = zoo.preprocess("resnet18")
    np.testing.assert_array_equal(preprocess(tmp_path / "photo.png"), preprocess(picture))


REFUSED = {
    "floats": (np.full((8, 8, 3), 255.0), r"floats from 255 to 255; expected them in \[0, 1\]"),
    "normalised": (np.linspace(-1, 1, 64).reshape(8, 8), r"floats from -1 to 1; expected them in \[0, 1\]"),
    "no number": (np.full((8, 8, 3), np.nan), r"floats from nan to nan"),
    "a float image": (Image.fromarray(np.full((8, 8), 1.5, np.float32)), "floats from 1.5 to 1.5"),
    "32 bits": (Image.fromarray(np.full((8, 8), 70_000, np.int32)), "integers from 70000 to 70000"),
    "integers": (np.zeros((8, 8, 3), np.int32), r"int32 of shape \(8, 8, 3\); expected uint8"),
    "no pixels": (np.zeros((0, 8, 3)), r"shape \(0, 8, 3\)"),
    "two channels": (np.zeros((8, 8, 2), np.uint8), r"uint8 of shape \(8, 8, 2\)"),
    "channels first": (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)"),
    "a number": (7, "no picture: int"),
    "nothing": ([], "no pictures"),
    "a thread": (Image.new("RGB", (1, 100_000)), "a picture of 1 x 100000 pixels is too narrow"),
}


@pytest.mark.parametrize(("images", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_picture_is_refused(images, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.preprocess("resnet18")(images)


def test_a_model_that_does_not_say_how_is_refused():
    with pytest.raises(
        zoo.ZooError, match=r"'vit_base_patch16_224_in21k' does not say how images become its input"
    ):
        zoo.preprocess("vit_base_patch16_224_in21k")
    with pytest.raises(zoo.UnknownModelError, match="did you mean 'resnet18'"):
        zoo.preprocess("resnet19")


def test_every_classifiers_names_are_as_many_as_its_classes():
    entries = [zoo.info(name) for name in zoo.list_models()]
    named = [entry for entry in entries if entry.class_names]
    assert {len(entry.class_names) for entry in named} == {2, 10, 21, 1000, 11221, 11821, 21841, 21843}
    for entry in named:
        usual = inspect.signature(family(entry).create).parameters["num_classes"].default
        assert len(set(entry.class_names)) == len(entry.class_names) == entry.config.get("num_classes", usual)
    assert zoo.info("cnn_mnist").class_names == ()
