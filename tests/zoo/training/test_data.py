import gzip
import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest

from zoo.training import DATASETS, DataError, load_split
from zoo.training.data import cache_directory

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def test_plain_and_compressed_files_give_the_same_arrays(data, dataset):
    plain = load_split(dataset, "test", data)
    for name in (IMAGES, LABELS):
        content = (data / name).read_bytes()
        (data / name).unlink()
        (data / f"{name}.gz").write_bytes(gzip.compress(content))
    compressed = load_split(dataset, "test", data)
    assert plain.inputs.shape == (37, 28, 28, 1)
    assert plain.inputs.dtype == np.uint8
    assert plain.labels.dtype == np.int32
    np.testing.assert_array_equal(plain.inputs, compressed.inputs)
    np.testing.assert_array_equal(plain.labels, compressed.labels)


def test_pixels_and_labels_are_the_bytes_after_the_header(data, dataset):
    test = load_split(dataset, "test", data)
    assert test.inputs.tobytes() == (data / IMAGES).read_bytes()[16:]
    assert test.labels.astype(np.uint8).tobytes() == (data / LABELS).read_bytes()[8:]


def zipped(content: bytes) -> bytes:
    return gzip.compress(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: b"", "cut off: 0 bytes, expected 29,024"),
        (lambda content: content[:-1], "cut off: 29,023 bytes"),
        (lambda content: content + b"\0", "too long: 29,025 bytes"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "is not t10k-images-idx3-ubyte: sha256"),
        (lambda content: content[:4] + content[8:12] + content[4:8] + content[12:], "sha256"),
        (lambda content: zipped(content)[:-100], "cut off"),
        (lambda content: zipped(content)[:-8], "cut off: its checksum"),
        (lambda content: zipped(content)[:40] + b"\0\0\0\0" + zipped(content)[44:], "damaged"),
        (lambda content: zipped(content + b"\0" * 10**7), "too long"),
        (lambda content: zipped(content[:-1]), "cut off: 29,023 bytes"),
        (lambda content: b"<html>not found</html>", "cut off: 22 bytes"),
    ],
    ids=[
        *(
            "empty",
            "a byte short",
            "a byte too many",
            "one bit",
            "axes swapped",
            "gzip cut off",
            "no checksum",
        ),
        *("gzip damaged", "gzip bomb", "gzip of less", "web page"),
    ],
)
def test_a_damaged_file_is_refused_by_name(data, dataset, damage, says):
    path = data / IMAGES
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=says) as refusal:
        load_split(dataset, "test", data)
    assert str(path) in str(refusal.value)
    assert "get the file again" in str(refusal.value)


def test_another_file_of_the_same_data_set_is_refused(data, dataset):
    (data / IMAGES).write_bytes((data / "train-images-idx3-ubyte").read_bytes())
    with pytest.raises(DataError, match="too long: 75,280 bytes, expected 29,024"):
        load_split(dataset, "test", data)


def test_a_header_that_contradicts_the_expected_shape_is_refused(data, dataset):
    images, labels = dataset.splits["test"]
    content = b"\0\0\x09\x03" + (data / IMAGES).read_bytes()[4:]
    (data / IMAGES).write_bytes(content)
    wrong = replace(images, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(DataError, match="begins with 00000903"):
        load_split(replace(dataset, splits={"test": (wrong, labels)}), "test", data)


def test_a_missing_file_is_named_with_both_spellings(data, dataset):
    (data / LABELS).unlink()
    with pytest.raises(DataError, match=r"neither 't10k-labels-idx1-ubyte' nor 't10k-labels-idx1-ubyte\.gz'"):
        load_split(dataset, "test", data)


def test_a_missing_directory_is_refused(tmp_path, dataset):
    with pytest.raises(DataError, match="has neither"):
        load_split(dataset, "test", tmp_path / "nowhere")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_refused_without_waiting(data, dataset, make):
    (data / IMAGES).unlink()
    make(data / IMAGES)
    with pytest.raises(DataError, match="expected a regular file"):
        load_split(dataset, "test", data)


def test_a_file_that_is_far_too_large_is_not_read(data, dataset):
    with (data / IMAGES).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="expected at most"):
        load_split(dataset, "test", data)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path, dataset):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "zoo"))
    assert cache_directory(dataset) == tmp_path / "zoo" / "tiny"
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory(dataset) == tmp_path / "flax-zoo" / "tiny"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_directory(dataset) == tmp_path / "home" / ".cache" / "flax-zoo" / "tiny"


def test_mnist_has_sixty_and_ten_thousand_digits():
    shapes = {split: [file.shape for file in files] for split, files in DATASETS["mnist"].splits.items()}
    assert shapes == {"train": [(60_000, 28, 28), (60_000,)], "test": [(10_000, 28, 28), (10_000,)]}
    assert DATASETS["mnist"].splits["train"][0].header.hex() == "000008030000ea600000001c0000001c"
