"""Progress in a notebook: a line below the cell, which changes."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo._progress.work import Refresh, Work

EVERY = 0.5  # seconds between changes of the line; shorter work shows none
COLUMNS = 20  # of the bar


def is_running() -> bool:
    """Returns whether the cell of a notebook runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def shown(work: Work) -> Iterator[Refresh]:
    """Shows a line below the cell, and changes it."""
    due, handle = EVERY, None
    display: Any = importlib.import_module("IPython.display").display

    def show(text: str) -> None:
        nonlocal handle
        content = {"text/plain": text}
        if handle is None:
            handle = display(content, raw=True, display_id=True)
        else:
            handle.update(content, raw=True)

    def refresh() -> None:
        nonlocal due
        if work.seconds() >= due:
            filled = int(COLUMNS * min(work.done / work.total, 1)) if work.total else 0
            bar = "█" * filled + "░" * (COLUMNS - filled)
            show("  ".join(each for each in (work.label, bar, work.numbers(), work.text) if each))
            due = work.seconds() + EVERY

    yield refresh
    if handle is not None:
        show(work.last_line())
