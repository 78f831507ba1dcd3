import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.servers import Files
from zoo.training import DATASETS, DataError, DataFile, Dataset, load_split
from zoo.training import cifar as _cifar

COUNT = 20  # images of a batch
NAMES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}


@pytest.fixture
def batches(monkeypatch) -> dict[str, np.ndarray]:
    """Records of all batches, which are smaller than the real ones."""
    shape = (COUNT, _cifar.SHAPE[1])
    monkeypatch.setattr(_cifar, "SHAPE", shape)
    rng = np.random.default_rng(0)
    names = [name for split in NAMES.values() for name in split]
    records = {name: rng.integers(0, 256, shape, np.uint8) for name in names}
    for record in records.values():
        record[:, 0] %= 10
    return records


@pytest.fixture
def cifar(batches) -> Dataset:
    def file(name: str) -> DataFile:
        return DataFile(name, batches[name].shape, hashlib.sha256(batches[name]).hexdigest())

    splits = {split: tuple(map(file, names)) for split, names in NAMES.items()}
    packed = archive(batches)
    described = DataFile("tiny.tar.gz", (len(packed),), hashlib.sha256(packed).hexdigest())
    return replace(DATASETS["cifar10"], name="tiny", splits=splits, archive=described)


def archive(batches) -> bytes:
    packed = io.BytesIO()
    # Without the time, which would give the same records another hash in the next second.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file,
        tarfile.open(fileobj=file, mode="w") as tar,
    ):
        for name, records in {"batches.meta.txt": np.zeros(3, np.uint8), **batches}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = records.nbytes
            tar.addfile(member, io.BytesIO(records.tobytes()))
    return packed.getvalue()


def write_plain(directory: Path, batches) -> None:
    for name, records in batches.items():
        (directory / name).write_bytes(records.tobytes())


def write_pictures(directory: Path, batches) -> None:
    for name, records in batches.items():
        pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).reshape(COUNT, -1, 3)
        Image.fromarray(pixels).save(directory / f"{name.removesuffix('.bin')}.png")
    for split, names in NAMES.items():
        labels = [int(label) for name in names for label in batches[name][:, 0]]
        (directory / f"{split}_lables.json").write_text(json.dumps(labels))


def write_archive(directory: Path, batches) -> None:
    (directory / "tiny.tar.gz").write_bytes(archive(batches))


@pytest.mark.parametrize("write", [write_plain, write_pictures, write_archive])
@pytest.mark.parametrize("split", ["train", "test"])
def test_each_form_of_the_files_gives_the_same_examples(tmp_path, batches, cifar, write, split):
    write(tmp_path, batches)
    examples = load_split(cifar, split, tmp_path)
    records = np.concatenate([batches[name] for name in NAMES[split]])
    assert examples.inputs.shape == (len(records), 32, 32, 3)
    # The first row of a record's pixels are red values from left to right.
    np.testing.assert_array_equal(examples.inputs[:, 0, :, 0], records[:, 1:33])
    np.testing.assert_array_equal(examples.inputs[:, 31, :, 2], records[:, -32:])
    np.testing.assert_array_equal(examples.labels, records[:, 0])
    assert examples.labels.dtype == np.int32


def test_the_archive_is_downloaded_once(tmp_path, monkeypatch, batches, cifar):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with Files().serving() as server:
        server.files["/tiny.tar.gz"] = archive(batches)
        first = load_split(replace(cifar, mirrors=(server.url + "/{}",)), "test")
    again = load_split(replace(cifar, mirrors=()), "test")
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert [path.name for path in tmp_path.rglob("cache/**/*") if path.is_file()] == ["tiny.tar.gz"]


@pytest.mark.parametrize(
    ("write", "name", "damage", "says"),
    [
        (write_archive, "tiny.tar.gz", lambda content: content[:-1] + b"!", "is not tiny.tar.gz: sha256"),
        (write_archive, "tiny.tar.gz", lambda content: content[:100], "is cut off: 100 bytes"),
        (write_pictures, "test_batch.png", lambda content: content[:100], "are no batch of CIFAR-10"),
        (write_pictures, "test_lables.json", lambda content: b"[1, 2", "are no batch of CIFAR-10"),
        (write_pictures, "test_lables.json", lambda content: b"[300]", "are no batch of CIFAR-10"),
        (write_pictures, "test_lables.json", lambda content: b"{}", "are no batch of CIFAR-10"),
        (
            write_pictures,
            "test_lables.json",
            lambda content: json.dumps([7] * COUNT).encode(),
            "is not test_batch.bin: sha256",
        ),
    ],
    ids=["archive", "half an archive", "picture", "labels", "label", "no list", "other labels"],
)
def test_damage_is_refused_by_name(tmp_path, batches, cifar, write, name, damage, says):
    write(tmp_path, batches)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(DataError, match=says):
        load_split(cifar, "test", tmp_path)


def test_labels_that_are_missing_are_named(tmp_path, batches, cifar):
    write_pictures(tmp_path, batches)
    (tmp_path / "test_lables.json").unlink()
    with pytest.raises(DataError, match="test_lables"):
        load_split(cifar, "test", tmp_path)


def test_the_published_files_have_their_published_sizes():
    cifar = DATASETS["cifar10"]
    assert [file.size for files in cifar.splits.values() for file in files] == [30_730_000] * 6
    assert cifar.archive.size == 170_052_171
