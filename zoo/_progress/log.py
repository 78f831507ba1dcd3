"""Progress in logs and pipes: a line now and then."""

from collections.abc import Iterator
from contextlib import contextmanager

from zoo._progress.streams import print_line
from zoo._progress.work import Refresh, Work

EVERY = 10.0  # seconds between lines; shorter work prints none


@contextmanager
def shown(work: Work) -> Iterator[Refresh]:
    """Prints a line now and then."""
    due = EVERY

    def refresh() -> None:
        nonlocal due
        if work.seconds() >= due:
            print_line(work.line())
            due = work.seconds() + EVERY

    yield refresh
    if work.seconds() >= EVERY:
        print_line(work.last_line())
