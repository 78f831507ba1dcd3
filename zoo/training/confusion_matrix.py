"""Plot of what a classifier takes the examples of each class for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.training.drawing import figure, write
from zoo.training.run_directory import CONFUSION

NUMBERED = 20  # classes that numbers are legible for; of more, the largest confusions are listed
NAMED = 50  # classes that names beside the matrix are legible for
LISTED = 15  # confusions in the list
LONGEST = 24  # letters of a class's name


def draw_confusion(counts: np.ndarray, classes: Sequence[str], directory: Path) -> Path:
    """Writes confusion.png into a run's directory: the confusion matrix.

    Args:
        counts: Numbers of examples, (classes, classes), a row for each true class.
        classes: Names of the classes.
        directory: The run's directory.

    Raises:
        TrainingError: matplotlib is not installed.
    """
    count, names = len(classes), [_short(name) for name in classes]
    side = 3.2 + (0.45 * count if count <= NUMBERED else 0.16 * min(count, NAMED))
    beside = 0.0 if count <= NUMBERED else 4.5
    drawn = figure(side + beside, side)
    axes = drawn.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)  # the root shows the few that are wrong, too
    if count <= NUMBERED:
        _number(axes, counts)
    else:
        _list(axes, counts, names)
    if count <= NAMED:
        size = 10 if count <= NUMBERED else 7
        axes.set_xticks(range(count), names, rotation=90 if count > 5 else 0, fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    right, total = int(np.trace(counts)), int(counts.sum())
    # Two lines: the picture of two classes is narrow.
    axes.set_title(f"accuracy {right / max(total, 1):.1%}\n{right:,} of {total:,} examples", fontsize=11)
    return write(drawn, directory / CONFUSION)


def _number(axes: Any, counts: np.ndarray) -> None:
    """Writes the numbers of examples, but for zeros."""
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = 3 * count > counts[row].sum()
            axes.text(column, row, f"{count:,}", ha="center", va="center", color="white" if dark else "black")


def _list(axes: Any, counts: np.ndarray, names: Sequence[str]) -> None:
    """Lists the largest confusions beside the matrix."""
    wrong = [
        (int(count), row, column)
        for (row, column), count in np.ndenumerate(counts)
        if row != column and count
    ]
    lines = [
        f"{names[row]} as {names[column]}: {count:,} of {counts[row].sum():,}"
        for count, row, column in sorted(wrong, key=lambda each: (-each[0], each[1:]))[:LISTED]
    ]
    if lines:
        text = "\n".join(["most frequent confusions", "", *lines])
        axes.text(1.03, 1, text, transform=axes.transAxes, va="top", fontsize=9, linespacing=1.5)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
