"""Bars of bytes and of steps, for long work to call."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

from zoo._progress import log, notebook, terminal
from zoo._progress.streams import is_terminal
from zoo._progress.work import Refresh, Work

BytesReport: TypeAlias = Callable[[int, int | None], None]  # takes the bytes done, and how many there are
StepsReport: TypeAlias = Callable[[int, str], None]  # takes the steps done, and a text to show after them


@contextmanager
def bytes_bar(label: str = "") -> Iterator[BytesReport]:
    """Shows how many bytes are done, with their rate and the remaining time."""
    work = Work(label, in_bytes=True)
    with _shown(work, transient=True) as refresh:

        def report(done: int, total: int | None) -> None:
            work.update(done, total)
            refresh()

        yield report


@contextmanager
def steps_bar(
    label: str, total: int | None, *, start: int = 0, transient: bool = False
) -> Iterator[StepsReport]:
    """Shows how many steps are done, with the remaining time and the text of the last report.

    Args:
        label: Text before the bar.
        total: Number of steps, if known.
        start: Number of steps that are done already.
        transient: If true, nothing is left on a terminal afterwards.
    """
    work = Work(label, start=start)
    with _shown(work, transient=transient) as refresh:

        def report(done: int, text: str) -> None:
            work.update(done, total, text)
            refresh()

        yield report


def _shown(work: Work, *, transient: bool) -> AbstractContextManager[Refresh]:
    """Returns the way to show it that suits where standard error goes."""
    if os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE"):
        return nullcontext(lambda: None)
    if notebook.is_running():
        return notebook.shown(work)
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
        return terminal.shown(work, transient=transient)
    return log.shown(work)
