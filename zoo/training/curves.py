"""Plot of a run's metrics over its epochs."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo._errors import TrainingError
from zoo._loading.located import RUN
from zoo.training.drawing import figure, write
from zoo.training.metrics import Row, read_rows
from zoo.training.run_directory import CURVES, METRICS
from zoo.training.tasks import TASKS, VALIDATION

MOST_MARKERS = 40  # epochs; with more, their markers would cover the line


def draw_curves(directory: str | os.PathLike[str]) -> Path:
    """Writes curves.png into a run's directory: each measure of training and validation over the epochs.

    Raises:
        TrainingError: matplotlib is not installed, or the run has no metrics yet.
    """
    directory = Path(directory)
    rows = [row for row in read_rows(directory / METRICS) if "step" in row]
    if not rows:
        raise TrainingError(f"{str(directory)!r} has no metrics to draw; train first.")
    names = [name for name in rows[0] if name not in ("epoch", "step")]
    record = _record(directory)
    best = _best(rows, record)
    drawn = figure(5 * len(names), 3.8)
    for axes, name in zip(drawn.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw(axes, rows, name, best)
    if model := record.get("model", {}).get("name"):
        drawn.suptitle(f"{model}, {int(rows[-1]['epoch'])} epochs")
    return write(drawn, directory / CURVES)


def _draw(axes: Any, rows: Sequence[Row], name: str, best: int | None) -> None:
    """Draws one measure; of training each row is a mean of many updates."""
    from matplotlib.ticker import MaxNLocator

    updates = max(row["step"] for row in rows) / max(row["epoch"] for row in rows)  # of an epoch
    marker = "o" if rows[-1]["epoch"] <= MOST_MARKERS else ""
    for series, label, style in ((name, "training", ""), (f"validation_{name}", "validation", marker)):
        points = [(row["step"] / updates, row[series]) for row in rows if series in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker=style, label=label, markersize=4)
    if best is not None:
        axes.axvline(best, color="gray", linestyle="--", linewidth=1, label=f"best epoch: {best}")
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()


def _record(directory: Path) -> Mapping[str, Any]:
    """Returns what run.json says; nothing where there is none."""
    path = directory / RUN
    record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return record


def _best(rows: Sequence[Row], record: Mapping[str, Any]) -> int | None:
    """Returns the epoch whose weights the run keeps; None if it is the last, since nothing is held out."""
    task = TASKS.get(record.get("recipe", {}).get("task", ""))
    if task is None:
        return None
    scores = [(task.score(row), row["epoch"]) for row in rows if f"{VALIDATION}{task.best}" in row]
    return int(max(scores)[1]) if scores else None
