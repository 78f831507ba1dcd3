"""How far a fetch is, drawn where a person looks on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from zoo._download import Report


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
