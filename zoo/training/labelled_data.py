"""The user's own labelled examples: a folder of pictures, or tables of texts.

All problems are found before training begins, and reported together.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoo._errors import DataError, ZooError
from zoo._registry.entry import Entry, Photos
from zoo.training.data import Examples

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = ("train", "val")
TABLES = (".csv", ".jsonl")
SHOWN = 20  # problems in an error

Found = Mapping[str, list[tuple[str, str, bytes]]]  # by split: label, where it is from, content


class Labelled(NamedTuple):
    """Labelled examples for training and evaluation.

    Attributes:
        training: Examples to train on; labels are indices into `classes`.
        held_back: Examples to measure on.
        classes: Names of the labels, in alphabetical order.
        digests: SHA-256 of all labels and contents, by split.
    """

    training: Examples
    held_back: Examples
    classes: tuple[str, ...]
    digests: Mapping[str, str]

    def balance(self) -> list[tuple[str, int, int]]:
        """Returns each class with its numbers of examples to train and to measure on."""
        counts = (np.bincount(each.labels, minlength=len(self.classes)) for each in self[:2])
        return [*zip(self.classes, *(map(int, count) for count in counts), strict=True)]


def pictures(directory: Path, entry: Entry) -> Labelled:
    """Reads the pictures in `train/CLASS/` and `val/CLASS/`, as model inputs before normalisation.

    Raises:
        DataError: pictures that cannot be read, an empty class, or one that is only in `val`; all are named.
        ZooError: the model does not say how photos become its input.
    """
    from zoo._preprocessing import images, photos

    if not isinstance(entry.preprocess, Photos):
        raise ZooError(f"{entry.name!r} does not say how photos become its input; choose a model of photos.")
    how, problems = entry.preprocess, list[str]()
    found = {split: [*_files(directory / split, problems)] for split in SPLITS}
    problems += _imbalances(found)
    arrays: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for split, each in found.items():
        for _, place, _ in each:
            try:
                arrays[split].append(photos.pixels(images.eight_bits(images.opened(directory / place)), how))
            except ZooError as error:
                problems.append(str(error))
    batches = {split: photos.stacked(each) for split, each in arrays.items() if each}
    return _labelled(directory, found, batches, problems)


def texts(directory: Path, tokens: "Tokenizer", limit: int) -> Labelled:
    """Reads the texts of `train` and `val`: .csv with a header or .jsonl, with fields `text` and `label`.

    Inputs are (count, 2, length): tokens, cut at `limit`, and their mask.

    Raises:
        DataError: a table is missing or malformed, or a class is only in `val`; all problems are named.
    """
    from zoo._preprocessing.text import batch

    problems: list[str] = []
    found = {split: [*_rows(directory, split, problems)] for split in SPLITS}
    problems += _imbalances(found)
    arrays: dict[str, np.ndarray] = {}
    if not problems:
        every = [content.decode() for each in found.values() for _, _, content in each]
        both = np.stack(batch(every, tokens, limit=limit), axis=1)
        arrays = dict(zip(SPLITS, np.split(both, [len(found["train"])]), strict=True))
    return _labelled(directory, found, arrays, problems)


def _files(split: Path, problems: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yields each class's files in order, without hidden ones."""
    if not split.is_dir():
        problems.append(f"{split.name}: there is no such folder, which has a folder for each class")
        return
    for label in sorted(path for path in split.iterdir() if not path.name.startswith(".")):
        if not label.is_dir():
            problems.append(f"{split.name}/{label.name}: is in no class's folder")
            continue
        files = sorted(path for path in label.iterdir() if not path.name.startswith("."))
        if not files:
            problems.append(f"{split.name}/{label.name}: is empty")
        for path in files:
            if path.is_file():
                yield label.name, str(path.relative_to(split.parent)), path.read_bytes()
            else:
                problems.append(f"{path.relative_to(split.parent)}: is no file")


def _rows(directory: Path, split: str, problems: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yields each row's label, place and text."""
    names = [f"{split}{suffix}" for suffix in TABLES if (directory / f"{split}{suffix}").is_file()]
    if len(names) != 1:
        problems.append(
            f"{split}: there is {'more than one' if names else 'no'} {split}.csv or {split}.jsonl"
        )
        return
    try:
        content = (directory / names[0]).read_text(encoding="utf-8-sig")
        parse = _csv if names[0].endswith(".csv") else _jsonl
        for line, row in parse(content):
            text, label = row.get("text"), row.get("label")
            if not isinstance(text, str) or not text.strip() or label in (None, ""):
                problems.append(f"{names[0]}, line {line}: lacks a text or a label")
            else:
                yield str(label), f"{names[0]}, line {line}", text.encode()
    except (ValueError, csv.Error, OSError) as error:
        problems.append(f"{names[0]}: cannot be read: {error}")


def _csv(content: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    lacking = {"text", "label"} - {*(reader.fieldnames or ())}
    if lacking:
        raise ValueError(f"its header lacks {' and '.join(sorted(lacking))}")
    for row in reader:
        yield reader.line_num, row


def _jsonl(content: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(content.splitlines(), 1):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no object")
        yield number, row


def _imbalances(found: Found) -> Iterator[str]:
    training, held_back = ({label for label, _, _ in found[split]} for split in SPLITS)
    yield from (f"val: {label!r} is no class of train" for label in sorted(held_back - training))
    if len(training) < 2:
        yield f"train: {len(training)} classes; expected two or more"
    if not held_back:
        yield "val: is empty"


def _labelled(
    directory: Path, found: Found, arrays: Mapping[str, np.ndarray], problems: Iterable[str]
) -> Labelled:
    problems = [*problems]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(f"{str(directory)!r} cannot be trained on:{lines}{more}")
    classes = tuple(sorted({label for label, _, _ in found["train"]}))
    examples: list[Examples] = []
    digests: dict[str, str] = {}
    for split, each in found.items():
        labels = np.array([classes.index(label) for label, _, _ in each], np.int32)
        examples.append(Examples(arrays[split], labels))
        digest = hashlib.sha256()
        for label, _, content in each:
            digest.update(f"{len(label)} {label} {len(content)} ".encode() + content)
        digests[split] = digest.hexdigest()
    training, held_back = examples
    return Labelled(training=training, held_back=held_back, classes=classes, digests=digests)
