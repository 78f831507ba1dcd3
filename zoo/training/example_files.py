"""Finds the user's examples: pictures in folders, or rows of tables, with the class and the place of each."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from zoo._errors import DataError

SPLITS = ("train", "val")
TABLES = (".csv", ".jsonl")
SHOWN = 20  # problems in an error
# What file managers leave in folders, beside hidden files.
LEFTOVERS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")


class Example(NamedTuple):
    """One example: its class, its place for messages (a path below the data, or a line), and its bytes."""

    label: str
    place: str
    content: bytes


Found: TypeAlias = Mapping[str, Sequence[Example]]  # by split


@dataclass
class Findings:
    """Remarks from a search for examples.

    Attributes:
        problems: Sentences about what has to be mended.
        skipped: Paths of files that are no examples, such as hidden ones.
        share: Share of each class that was held out; 0 where the data have a `val` of their own.
    """

    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    share: float = 0.0

    def check(self, data: Path) -> None:
        """Raises all problems together.

        Raises:
            DataError: there are some.
        """
        if not self.problems:
            return
        lines = "".join(f"\n  {problem}" for problem in self.problems[:SHOWN])
        more = f"\n  and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
        raise DataError(f"{str(data)!r} cannot be trained on:{lines}{more}")


def find_pictures(data: Path, share: float, seed: int, findings: Findings) -> Found:
    """Finds the pictures in `train/CLASS/` and `val/CLASS/`; in `CLASS/` alone, a share is held out.

    Raises:
        DataError: there is no such folder.
    """
    if data.suffix in TABLES and data.is_file():
        raise DataError(f"{str(data)!r} is a table of texts; the model takes pictures, in a folder by class.")
    if not data.is_dir():
        raise DataError(f"there is no folder {str(data)!r}; data= names one with a folder for each class.")
    present = [split for split in SPLITS if (data / split).is_dir()]
    if not present:
        return hold_out([*_in_classes(data, data, findings)], share, seed, findings)
    if len(present) < len(SPLITS):
        (there,) = present
        (missing,) = {*SPLITS} - {there}
        findings.problems.append(
            f"{missing}: there is no such folder beside {there}; "
            f"give {str(data / there)!r} to have a share of it held out"
        )
        return {}
    found = {split: [*_in_classes(data / split, data, findings)] for split in SPLITS}
    findings.problems.extend(_imbalances(found, findings))
    return found


def find_texts(data: Path, share: float, seed: int, findings: Findings) -> Found:
    """Finds the rows of the tables `train` and `val` in a folder; of one table alone, a share is held out.

    Raises:
        DataError: there is no such file or folder.
    """
    if data.is_file():
        return hold_out([*_rows(data, findings)], share, seed, findings)
    if not data.is_dir():
        raise DataError(
            f"there is no file or folder {str(data)!r}; data= names a table, .csv or .jsonl, or a folder "
            "with train.csv and val.csv."
        )
    tables = {split: _table(data, split, findings) for split in SPLITS}
    found = {split: [*_rows(table, findings)] if table else [] for split, table in tables.items()}
    findings.problems.extend(_imbalances(found, findings))
    return found


def hold_out(examples: Sequence[Example], share: float, seed: int, findings: Findings) -> Found:
    """Splits examples into those to train on, and a share of each class to measure on.

    Which ones follows from their contents and the seed alone, so that it is the same on every machine, and
    of equal contents all are on one side.
    """
    if not share:
        findings.problems.append("validation_share is 0; expected a share to hold out, since there is no val")
        return {}
    findings.share = share
    held_out: set[tuple[str, bytes]] = set()
    by_class: dict[str, dict[bytes, bytes]] = {}
    for example in examples:
        content = hashlib.sha256(example.content).digest()
        rank = hashlib.sha256(f"{seed} ".encode() + content).digest()
        by_class.setdefault(example.label, {})[content] = rank
    for label, ranks in sorted(by_class.items()):
        count = min(max(1, round(share * len(ranks))), len(ranks) - 1)
        if count < 1:
            findings.problems.append(
                f"{label}: has 1 example; expected two different ones or more, since one is held out"
            )
        held_out |= {(label, content) for content in sorted(ranks, key=ranks.__getitem__)[:count]}
    if len(by_class) < 2 and (by_class or not findings.problems):
        findings.problems.append(f"has {_classes(len(by_class))}; expected two or more")
    found: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example in examples:
        key = (example.label, hashlib.sha256(example.content).digest())
        found["val" if key in held_out else "train"].append(example)
    return found


def _in_classes(folder: Path, data: Path, findings: Findings) -> Iterator[Example]:
    """Yields the files of each class's folder in order."""
    for label in _listed(folder, data, findings):
        if not label.is_dir():
            findings.problems.append(f"{label.relative_to(data).as_posix()}: is in no class's folder")
            continue
        empty = True
        for path in _listed(label, data, findings):
            empty, place = False, path.relative_to(data).as_posix()
            if path.is_file():
                yield Example(label.name, place, path.read_bytes())
            else:
                findings.problems.append(
                    f"{place}: is {'a folder' if path.is_dir() else 'no file'}; "
                    "expected pictures directly in the folder of their class"
                )
        if empty:
            findings.problems.append(f"{label.relative_to(data).as_posix()}: is empty")


def _listed(folder: Path, data: Path, findings: Findings) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in LEFTOVERS:
            findings.skipped.append(path.relative_to(data).as_posix())
        else:
            yield path


def _table(data: Path, split: str, findings: Findings) -> Path | None:
    paths = [data / f"{split}{suffix}" for suffix in TABLES if (data / f"{split}{suffix}").is_file()]
    if len(paths) == 1:
        return paths[0]
    advice = ""
    if not paths and split == "val" and (data / "train.csv").is_file():
        advice = f"; give {str(data / 'train.csv')!r} to have a share of it held out"
    findings.problems.append(
        f"{split}: there is {'more than one' if paths else 'no'} {split}.csv or {split}.jsonl{advice}"
    )
    return None


def _rows(table: Path, findings: Findings) -> Iterator[Example]:
    """Yields each row's label, place and text."""
    try:
        content = table.read_text(encoding="utf-8-sig")
        for line, row in (_csv if table.suffix == ".csv" else _jsonl)(content):
            text, label = row.get("text"), row.get("label")
            if not isinstance(text, str) or not text.strip() or label in (None, ""):
                findings.problems.append(f"{table.name}, line {line}: lacks a text or a label")
            else:
                yield Example(str(label), f"{table.name}, line {line}", text.encode())
    except (ValueError, csv.Error, OSError) as error:
        findings.problems.append(f"{table.name}: cannot be read: {error}")


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


def _imbalances(found: Found, findings: Findings) -> list[str]:
    """Returns sentences about classes; none about a split that is said to lack all of its files."""
    training, held_back = ({example.label for example in found[split]} for split in SPLITS)
    lines = []
    if training:
        lines += [f"val: {label!r} is no class of train" for label in sorted(held_back - training)]
    if len(training) < 2 and (training or not findings.problems):
        lines.append(f"train: has {_classes(len(training))}; expected two or more")
    if not held_back and not findings.problems:
        lines.append("val: is empty")
    return lines


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"
