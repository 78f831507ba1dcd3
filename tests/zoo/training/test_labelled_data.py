"""The user's examples: those that are found, held out, left out or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.training import DataError, finetuning_recipe
from zoo.training.labelled_data import pictures, texts

RESNET, DIGITS = zoo.info("resnet20_cifar10"), zoo.info("cnn_mnist")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twenty cats and ten dogs, of which two are the same, and what file managers leave."""
    rng = np.random.default_rng(0)
    for label, count in (("cat", 20), ("dog", 10)):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / label / f"{index}.png")
    content = (tmp_path / "pets" / "dog" / "1.png").read_bytes()
    (tmp_path / "pets" / "dog" / "0.png").write_bytes(content)
    for name in ("Thumbs.db", ".DS_Store", "cat/desktop.ini", "cat/.hidden.png"):
        (tmp_path / "pets" / name).write_bytes(b"no picture")
    return tmp_path / "pets"


def test_a_share_of_a_plain_folder_is_held_out(folder):
    found = pictures(folder, RESNET, share=0.2)
    assert found.balance() == [("cat", 16, 4), ("dog", 8, 2)] or found.balance()[1] == ("dog", 7, 3)
    assert found.skipped == (".DS_Store", "Thumbs.db", "cat/.hidden.png", "cat/desktop.ini")
    assert found.share == 0.2
    lines = found.described().splitlines()
    assert lines[0].endswith("to measure on (20% of each class, held out):")
    assert lines[1] == "  cat  16 and 4"
    assert lines[-1].endswith(".DS_Store, Thumbs.db, cat/.hidden.png and 1 more")


def test_which_ones_follows_from_contents_and_seed_alone(folder):
    first, other = (pictures(folder, RESNET, share=0.2, seed=seed) for seed in (0, 1))
    assert first.digests != other.digests
    for index, path in enumerate(sorted(folder.glob("*/[0-9]*.png"))):
        path.rename(path.with_name(f"{999 - index}.png"))
    again = pictures(folder, RESNET, share=0.2)
    assert {each.tobytes() for each in again.held_back.inputs} == {
        each.tobytes() for each in first.held_back.inputs
    }
    sides = [{each.tobytes() for each in part.inputs} for part in again[:2]]
    assert not sides[0] & sides[1]  # the two that are the same are on one side


def test_data_with_a_val_of_their_own_are_not_split(folder):
    for split in ("train", "val"):
        (folder.parent / "both" / split).mkdir(parents=True)
        for label in ("cat", "dog"):
            (folder.parent / "both" / split / label).symlink_to(folder / label)
    found = pictures(folder.parent / "both", RESNET, share=0.2)
    assert (found.balance(), found.share) == ([("cat", 20, 20), ("dog", 10, 10)], 0.0)


def test_digits_are_read_as_their_models_take_them(tmp_path):
    for label in "12":
        (tmp_path / label).mkdir()
        for index in range(2):
            ink = Image.new("L", (40, 60), 255)
            ink.paste(0, (18, 10 + index, 22, 50))
            ink.save(tmp_path / label / f"{label}{index}.png")
    found = pictures(tmp_path, DIGITS, share=0.5)
    assert found.training.inputs.shape == (2, 28, 28, 1)
    shares = zoo.preprocess("cnn_mnist")(sorted((tmp_path / "1").iterdir()))
    kept = np.concatenate([found.training.inputs[:1], found.held_back.inputs[:1]]) / 255
    assert min(abs(kept - shares).max(), abs(kept[::-1] - shares).max()) <= 0.5 / 255
    assert finetuning_recipe("cnn_mnist").flip == 0


def test_rows_of_one_table_are_held_out(tmp_path):
    rows = [f"to be {each},{('good', 'bad')[index % 2]}" for index, each in enumerate("abcdef")]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows, *rows]) + "\n")
    found = texts(tmp_path / "reviews.csv", zoo.tokenizer("gpt_shakespeare"), 16, share=0.2)
    assert found.balance() == [("bad", 4, 2), ("good", 4, 2)]  # equal texts are on one side


def damaged(folder: Path) -> Path:
    for split, label in (("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "bird")):
        (folder / split / label).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(folder / split / label / "1.png")
    (folder / "train" / "dog" / "1.png").unlink()
    (folder / "train" / "cat" / "2.jpg").write_bytes(b"no picture")
    content = (folder / "val" / "cat" / "1.png").read_bytes()
    (folder / "val" / "cat" / "cut.png").write_bytes(content[: len(content) // 2])
    (folder / "val" / "cat" / "more").mkdir()
    (folder / "train" / "list.txt").touch()
    (folder / "train" / ".hidden").touch()
    return folder


def test_everything_wrong_with_pictures_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        pictures(damaged(tmp_path), RESNET)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("cannot be trained on:")
    assert lines[1:6] == [
        "  train/dog: is empty",
        "  train/list.txt: is in no class's folder",
        "  val/cat/more: is a folder; expected pictures directly in the folder of their class",
        "  val: 'bird' is no class of train",
        "  train: has 1 class; expected two or more",
    ]
    assert ["cat/2.jpg" in lines[6], "cat/cut.png" in lines[7]] == [True, True]
    assert len(lines) == 8


FOLDERS = {
    "nowhere": ((), "there is no folder '{data}'; data= names one with a folder for each class."),
    "train alone": (
        ("train/cat", "train/dog"),
        "val: there is no such folder beside train; give '{data}/train' to have a share of it held out",
    ),
    "one class": (("cat",), "cat: has 1 example; expected two different ones or more"),
    "nothing": ((".hidden",), "has 0 classes; expected two or more"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_cannot_be_split_says_what_is_wrong_and_no_more(case, tmp_path):
    folders, expected = FOLDERS[case]
    for name in folders:
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "data" / name / "1.png")
    with pytest.raises(DataError) as error:
        pictures(tmp_path / "data", RESNET, share=0.2)
    assert expected.format(data=tmp_path / "data") in str(error.value)
    assert str(error.value).count("\n") <= 2


TABLES = {
    "no tables": (
        {},
        ["train: there is no train.csv or train.jsonl", "val: there is no val.csv or val.jsonl"],
    ),
    "another header": (
        {"train.csv": "words,label\nhi,1\n"},
        ["train.csv: cannot be read: its header lacks text"],
    ),
    "an empty text": ({"train.csv": 'text,label\n" ",1\n'}, ["train.csv, line 2: lacks a text or a label"]),
    "no label": ({"train.jsonl": '{"text": "hi"}\n'}, ["train.jsonl, line 1: lacks a text or a label"]),
    "no JSON": ({"train.jsonl": "hi\n"}, ["train.jsonl: cannot be read: "]),
    "no object": ({"train.jsonl": "[1]\n"}, ["train.jsonl: cannot be read: line 1 is no object"]),
    "an open quote": ({"train.csv": 'text,label\n"hi,1\n'}, ["train.csv: cannot be read: "]),
    "not UTF-8": ({"train.csv": b"text,label\n\xff,1\n"}, ["train.csv: cannot be read: "]),
    "both": (
        {"train.csv": "text,label\nhi,1\n", "train.jsonl": "{}"},
        ["train: there is more than one train.csv or train.jsonl"],
    ),
    "another class in val": (
        {"train.csv": "text,label\nhi,1\nho,2\n", "val.csv": "text,label\nhi,3\n"},
        ["val: '3' is no class of train"],
    ),
    "one class": ({"train.csv": "text,label\nhi,1\n"}, ["train: has 1 class; expected two or more"]),
}


@pytest.mark.parametrize("case", TABLES)
def test_everything_wrong_with_tables_is_named(case, tmp_path):
    files, expected = TABLES[case]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        texts(tmp_path, zoo.tokenizer("gpt_shakespeare"), 16)
    for line in expected:
        assert f"\n  {line}" in str(error.value)


def test_a_picture_that_a_model_does_not_take_is_named(tmp_path):
    for label in "12":
        (tmp_path / label).mkdir()
        for shade in (20, 30):
            Image.new("L", (9, 9), shade).save(tmp_path / label / f"{shade}.png")
    with pytest.raises(DataError, match=r"\n  1/20\.png: a picture shows no strokes"):
        pictures(tmp_path, zoo.info("cnn_mnist"), share=0.5)
