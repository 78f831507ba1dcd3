"""The user's own labelled examples as arrays: a folder of pictures, or tables of texts.

All problems are found before training begins, and reported together.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoo._errors import ZooError
from zoo._registry.entry import Entry
from zoo.training.data import Examples
from zoo.training.example_files import SPLITS, Findings, Found, find_pictures, find_texts
from zoo.training.remarks import say

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LISTED = 20  # classes of which the numbers are shown


class Labelled(NamedTuple):
    """Labelled examples for training and evaluation.

    Attributes:
        training: Examples to train on; labels are indices into `classes`.
        held_back: Examples to measure on.
        classes: Names of the labels, in alphabetical order.
        digests: SHA-256 of all labels and contents, by split.
        share: Share of each class that was held out here; 0 where the data have a `val` of their own.
        skipped: Paths of files that are no examples, such as hidden ones.
    """

    training: Examples
    held_back: Examples
    classes: tuple[str, ...]
    digests: Mapping[str, str]
    share: float = 0.0
    skipped: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples of each split."""
        return {split: len(each.labels) for split, each in zip(SPLITS, self[:2], strict=True)}

    def balance(self) -> list[tuple[str, int, int]]:
        """Returns each class with its numbers of examples to train and to measure on."""
        counts = (np.bincount(each.labels, minlength=len(self.classes)) for each in self[:2])
        return [*zip(self.classes, *(map(int, count) for count in counts), strict=True)]

    def described(self) -> str:
        """Returns lines for a person: how many examples of each class there are, and what was left out."""
        rows = self.balance()
        shown = sorted(rows, key=lambda row: row[1])[:LISTED] if len(rows) > LISTED else rows
        width = max(len(name) for name, *_ in shown)
        held_out = f" ({self.share:.0%} of each class, held out)" if self.share else ""
        lines = [
            f"{len(self.training.labels):,} examples of {len(rows):,} classes to train on, and "
            f"{len(self.held_back.labels):,} to measure on{held_out}:",
            *(f"  {name:{width}}  {training:,} and {held_back:,}" for name, training, held_back in shown),
        ]
        if len(rows) > LISTED:
            most = max(training for _, training, _ in rows)
            lines.append(f"  and {len(rows) - LISTED} larger classes, of up to {most:,} to train on")
        if self.skipped:
            more = f" and {len(self.skipped) - 3:,} more" if len(self.skipped) > 3 else ""
            lines.append(f"left out, since they are no examples: {', '.join(self.skipped[:3])}{more}")
        return "\n".join(lines)


def describe(labelled: Labelled) -> None:
    """Prints how many examples there are of each class, from one process."""
    say(labelled.described().replace("\nleft out", "\nzoo: left out"))


def pictures(data: Path, entry: Entry, *, share: float = 0.0, seed: int = 0) -> Labelled:
    """Reads pictures as model inputs before normalisation, uint8.

    Args:
        data: Folder with the pictures in `train/CLASS/` and `val/CLASS/`, or in `CLASS/`.
        entry: Record of a model that says how pictures become its input.
        share: Share of each class to hold out where there is no `val`.
        seed: Seed of that choice.

    Raises:
        DataError: pictures that cannot be read, an empty class, or one that is only in `val`; all are named.
    """
    from zoo._preprocessing import images, photos

    findings = Findings()
    found = find_pictures(data, share, seed, findings)
    arrays: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for split, each in found.items():
        for example in each:
            try:
                arrays[split].append(images.pixels(data / example.place, entry))
            except ZooError as error:
                named = example.place in str(error)
                findings.problems.append(str(error) if named else f"{example.place}: {error}")
    findings.check(data)
    batches = {split: photos.stacked(each) for split, each in arrays.items()}
    return _labelled(found, batches, findings)


def texts(data: Path, tokens: "Tokenizer", limit: int, *, share: float = 0.0, seed: int = 0) -> Labelled:
    """Reads texts as inputs (count, 2, length): tokens, cut at `limit`, and their mask.

    Args:
        data: Folder with the tables `train` and `val`, or one table: .csv with a header or .jsonl, with
            fields `text` and `label`.
        tokens: Tokenizer of the model.
        limit: Longest input, in tokens.
        share: Share of each class to hold out of one table.
        seed: Seed of that choice.

    Raises:
        DataError: a table is missing or malformed, or a class is only in `val`; all problems are named.
    """
    from zoo._preprocessing.text import batch

    findings = Findings()
    found = find_texts(data, share, seed, findings)
    findings.check(data)
    every = [example.content.decode() for each in found.values() for example in each]
    both = np.stack(batch(every, tokens, limit=limit), axis=1)
    arrays = dict(zip(SPLITS, np.split(both, [len(found["train"])]), strict=True))
    return _labelled(found, arrays, findings)


def _labelled(found: Found, arrays: Mapping[str, np.ndarray], findings: Findings) -> Labelled:
    classes = tuple(sorted({example.label for example in found["train"]}))
    examples: list[Examples] = []
    digests: dict[str, str] = {}
    for split, each in found.items():
        labels = np.array([classes.index(example.label) for example in each], np.int32)
        examples.append(Examples(arrays[split], labels))
        digest = hashlib.sha256()
        for label, _, content in each:
            digest.update(f"{len(label)} {label} {len(content)} ".encode() + content)
        digests[split] = digest.hexdigest()
    training, held_back = examples
    return Labelled(
        training=training,
        held_back=held_back,
        classes=classes,
        digests=digests,
        share=findings.share,
        skipped=tuple(findings.skipped),
    )
