"""Progress bars for long work, drawn on standard error if it is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeAlias

BytesReport: TypeAlias = Callable[[int, int | None], None]  # takes the bytes done, and how many there are
StepsReport: TypeAlias = Callable[[int, str], None]  # takes the steps done, and a text to show after them


def is_terminal(stream: TextIO | None) -> bool:
    """Returns whether the stream is a terminal, which a person reads or writes."""
    return stream is not None and stream.isatty()


@contextmanager
def bytes_bar(label: str = "") -> Iterator[BytesReport]:
    """Shows a progress bar of bytes, with their rate."""
    if not is_terminal(sys.stderr):
        yield lambda done, total: None
        return
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    with _bar(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def steps_bar(label: str, total: int | None, *, transient: bool = False) -> Iterator[StepsReport]:
    """Shows a progress bar of steps, with the remaining time and the text of the last report.

    Args:
        label: Text before the bar.
        total: Number of steps, if known.
        transient: If true, nothing is left on the terminal afterwards.
    """
    if not is_terminal(sys.stderr):
        yield lambda done, text: None
        return
    from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.fields[text]}", markup=False)
    with _bar(MofNCompleteColumn(), TimeRemainingColumn(), text, transient=transient) as progress:
        task = progress.add_task(label, total=total, text="")
        yield lambda done, text: progress.update(task, completed=done, text=text)


def _bar(*columns: Any, transient: bool) -> Any:
    # Slow to import, and needed on terminals only.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    label = TextColumn("{task.description}", markup=False)
    return Progress(label, BarColumn(), *columns, console=Console(stderr=True), transient=transient)
