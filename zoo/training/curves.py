"""Plots of a run's metrics and of a classifier's confusions."""

import io
import logging
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from converters.io import atomic_write
from zoo._errors import TrainingError
from zoo.training.metrics import read_rows
from zoo.training.run_directory import CONFUSION, CURVES, METRICS

MISSING = "pictures need matplotlib; install 'flax-zoo[plot]'."

_log = logging.getLogger("zoo")


def can_draw(*pictures: str) -> bool:
    """Returns whether matplotlib is installed; logs how to get the named pictures where it is not.

    A run asks before it begins: its result is complete without them.
    """
    found = find_spec("matplotlib") is not None
    if not found:
        _log.warning("%s will be left out: %s", " and ".join(pictures), MISSING)
    return found


def attempt(*pictures: Callable[[], object]) -> None:
    """Draws pictures of a complete run; logs what fails, which takes nothing from its result."""
    for draw in pictures:
        try:
            draw()
        except (TrainingError, OSError) as error:
            _log.warning("a picture is left out: %s", error)


def draw_curves(directory: str | os.PathLike[str]) -> Path:
    """Writes curves.png into a run's directory: each metric over the updates, together with the held-out one.

    Raises:
        TrainingError: matplotlib is not installed, or the run has no metrics yet.
    """
    directory = Path(directory)
    rows = [row for row in read_rows(directory / METRICS) if "step" in row]
    if not rows:
        raise TrainingError(f"{str(directory)!r} has no metrics to draw; train first.")
    names = [name for name in rows[0] if name not in ("epoch", "step")]
    figure = _figure(figsize=(4.5 * len(names), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for series, style in ((name, "-"), (f"validation_{name}", "o-")):
            points = [(row["step"], row[series]) for row in rows if series in row]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=series.replace("_", " "), markersize=3)
        axes.set_title(name)
        axes.set_xlabel("updates")
        axes.legend()
    return _write(figure, directory / CURVES)


def draw_confusion(counts: np.ndarray, classes: Sequence[str], directory: Path) -> Path:
    """Writes confusion.png into a run's directory: the confusion matrix.

    Args:
        counts: Numbers of examples, (classes, classes), a row for each true class.
        classes: Names of the classes.
        directory: The run's directory.

    Raises:
        TrainingError: matplotlib is not installed.
    """
    side = 2.5 + 0.45 * len(classes)
    figure = _figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        dark = 2 * count > counts[row].sum()
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    return _write(figure, directory / CONFUSION)


def _figure(**options: Any) -> Any:
    if find_spec("matplotlib") is None:
        raise TrainingError(MISSING)
    from matplotlib.figure import Figure

    return Figure(**options)


def _write(figure: Any, path: Path) -> Path:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    with atomic_write(path, overwrite=True) as file:
        file.write(picture.getvalue())
    return path
