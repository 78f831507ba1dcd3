import io

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo._preprocessing import images as _images

ENTRY = zoo.info("cnn_mnist")


@pytest.fixture
def digit():
    """A stroke such as MNIST's: 20 pixels high, its centre of mass in the middle of 28."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 12:16] = 255
    pixels[4:7, 10:18] = 200
    pixels[21:24, 10:18] = 200
    return pixels


def written(directory, image, name="digit.png"):
    path = directory / name
    image.save(path)
    return path


def read(path):
    return zoo.preprocess(ENTRY)([path])[0, ..., 0]


@pytest.mark.parametrize("dark_on_light", [False, True])
def test_an_image_of_the_models_size_is_only_scaled_to_the_unit_range(digit, dark_on_light, tmp_path):
    path = written(tmp_path, Image.fromarray(255 - digit if dark_on_light else digit))
    np.testing.assert_allclose(read(path), digit / 255, atol=1e-6)


def drawing(digit):
    """The digit ten times as large, off centre on a large sheet."""
    large = np.kron(digit, np.ones((10, 10), np.uint8))
    return np.pad(large, ((50, 400), (300, 20)))


VARIANTS = {
    "light on dark": Image.fromarray,
    "dark on light": lambda pixels: Image.fromarray(255 - pixels),
    "faint pencil on grey paper": lambda pixels: Image.fromarray((190 - pixels // 3).astype(np.uint8)),
    "colour": lambda pixels: Image.merge("RGB", [Image.fromarray(255 - pixels)] * 3),
    "palette": lambda pixels: Image.fromarray(255 - pixels).convert("P"),
    "black on transparent": lambda pixels: Image.merge(
        "RGBA", [Image.new("L", pixels.shape[::-1])] * 3 + [Image.fromarray(pixels)]
    ),
    "16 bits": lambda pixels: Image.fromarray(pixels.astype(np.uint16) * 257),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_a_drawing_becomes_what_it_was_drawn_from(variant, digit, tmp_path):
    path = written(tmp_path, variant(drawing(digit)))
    np.testing.assert_allclose(read(path), digit / 255, atol=0.02)


def test_a_wide_stroke_fits_too(tmp_path):
    pixels = np.zeros((100, 300), np.uint8)
    pixels[48:52, 20:280] = 255
    image = read(written(tmp_path, Image.fromarray(pixels)))
    assert image.shape == (28, 28)
    columns = np.flatnonzero(image.any(0))
    assert (columns[0], columns[-1]) == (4, 23)


def test_several_images_are_one_batch(digit, tmp_path):
    paths = [written(tmp_path, Image.fromarray(digit), f"{i}.png") for i in range(3)]
    batch = zoo.preprocess(ENTRY)(paths)
    assert batch.shape == (3, 28, 28, 1)
    assert batch.dtype == np.float32


def test_what_is_no_image_is_refused_by_name(digit, tmp_path):
    encoded = io.BytesIO()
    Image.fromarray(drawing(digit)).save(encoded, "PNG")
    contents = {"empty.png": b"", "text.png": b"hello", "cut.png": encoded.getvalue()[:-100]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(zoo.ZooError, match=f"{name}' is no image that Pillow can read"):
            read(tmp_path / name)
    (tmp_path / "folder").mkdir()
    for name, message in (("missing.png", "No such file; expected"), ("folder", "is a directory; name")):
        with pytest.raises(zoo.ZooError, match=f"{name}'.*{message}"):
            read(tmp_path / name)


def test_a_blank_sheet_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(230, 256, (90, 90), np.uint8)
    with pytest.raises(zoo.ZooError, match="no strokes"):
        read(written(tmp_path, Image.fromarray(noise)))


def test_a_model_of_other_things_reads_no_images():
    with pytest.raises(zoo.ZooError, match="'vae_mnist' does not say how images become its input"):
        zoo.preprocess("vae_mnist")


def test_a_grid_has_its_images_row_by_row():
    images = np.linspace(0, 1, 6)[:, None, None, None] * np.ones((1, 8, 8, 1))
    picture = np.asarray(_images.grid(images, 2))
    assert picture.shape == (3 * 24, 2 * 24)
    centres = picture[12::24, 12::24]
    np.testing.assert_allclose(centres.reshape(-1), np.linspace(0, 255, 6), atol=1)


def test_an_incomplete_last_row_stays_black():
    picture = np.asarray(_images.grid(np.ones((3, 8, 8, 1)), 2))
    assert picture[12, 36] == 255
    assert picture[36, 36] == 0


def test_a_picture_replaces_another_and_needs_a_format(tmp_path):
    path = tmp_path / "digits.png"
    path.write_text("old")
    _images.write(Image.new("L", (3, 3)), path)
    with Image.open(path) as picture:
        assert picture.size == (3, 3)
    for name in ("digits", "digits.txt"):
        with pytest.raises(zoo.ZooError, match=r"ends in no format of pictures; choose a name such as"):
            _images.write(Image.new("L", (3, 3)), tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == ["digits.png"]
