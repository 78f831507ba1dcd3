"""A run's metrics as JSON lines, in the order of training; one process writes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from converters.io import atomic_write, named_errors
from zoo._processes import is_primary

Row: TypeAlias = Mapping[str, float]
WINDOW = 100  # updates that a row averages


def read_rows(path: Path) -> list[dict[str, float]]:
    """Reads the complete rows; a killed process may have left half a line."""
    if not path.exists():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


def forget_after(path: Path, epoch: int) -> list[dict[str, float]]:
    """Removes the rows after an epoch, which will be written again, and returns those that are left."""
    rows = [row for row in read_rows(path) if row.get("epoch", epoch + 1) <= epoch]
    if is_primary():
        with atomic_write(path, overwrite=True) as file:
            file.write(_lines(rows).encode())
    return rows


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Adds rows at the end."""
    if is_primary():
        with named_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(_lines(rows))


def window_rows(measures: Mapping[str, Any], epoch: int) -> list[dict[str, float]]:
    """Averages an epoch's measures over a hundred updates each; the first row takes the remainder.

    Args:
        measures: Values by name, one for each update of the epoch.
        epoch: The epoch, counted from 1.
    """
    values = {name: np.asarray(each, np.float64) for name, each in measures.items()}
    steps = len(next(iter(values.values())))
    ends = range(steps % WINDOW or min(WINDOW, steps), steps + 1, WINDOW)
    return [
        {"epoch": epoch, "step": (epoch - 1) * steps + end}
        | {name: float(each[max(0, end - WINDOW) : end].mean()) for name, each in values.items()}
        for end in ends
    ]


def _lines(rows: Sequence[Row]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)
