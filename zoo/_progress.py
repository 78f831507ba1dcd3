"""How far long work is, drawn where a person looks on."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Report: TypeAlias = Callable[[int, int | None], None]  # takes how much is done, and of how much


@contextmanager
def bar(label: str) -> Iterator[Report]:
    """What a download reports to: a bar on a terminal's standard error, otherwise nobody."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    # Slow to import, and needed on terminals only.
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(label), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def rate(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """The same for examples that are computed, and how many a second since the first ones."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, said="compiling")
        first: tuple[int, float] | None = None  # which took the compiler's time too

        def report(done: int) -> None:
            nonlocal first
            now = time.monotonic()
            first = first or (done, now)
            speed = f", {(done - first[0]) / (now - first[1]):,.0f}/s" if now > first[1] else ""
            progress.update(task, completed=done, said=f"{done:,} examples{speed}")

        yield report
