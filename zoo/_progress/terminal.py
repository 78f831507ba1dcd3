"""Progress on a terminal: a bar with numbers and a text, in one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import Any, TextIO

from zoo._progress.streams import is_terminal
from zoo._progress.work import Refresh, Work

SHORTEST, LONGEST = 10, 40  # columns of a bar


@contextmanager
def shown(work: Work, *, transient: bool) -> Iterator[Refresh]:
    """Draws a bar from the first report on."""
    # Slow to import, and needed on terminals only.
    from rich.errors import LiveError
    from rich.live import Live

    console, began = _console(), False
    live = Live(
        console=console,
        transient=transient,
        get_renderable=lambda: _drawn(work, console.width),
        refresh_per_second=10,
        redirect_stdout=is_terminal(sys.stdout),  # else results would go where the bar is
        vertical_overflow="crop",
    )
    with ExitStack() as stack:

        def refresh() -> None:
            nonlocal began
            if not began:
                began = True
                with suppress(LiveError):  # work within work, of which older versions show the outer
                    before = sys.stderr
                    stack.enter_context(live)
                    stack.enter_context(_logged_to(before))

        yield refresh


@cache
def _console() -> Any:
    """Returns standard error's; one for all, by which bars know of each other."""
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def _logged_to(before: TextIO) -> Iterator[None]:
    """Sends the log to what stands for standard error now, which prints above the bar."""
    loggers = (logging.getLogger(), logging.getLogger("zoo"))
    ours = [
        handler
        for logger in loggers
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is before
    ]
    for handler in ours:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in ours:
            handler.setStream(before)


def _drawn(work: Work, width: int) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    label, columns, numbers, text = fitted(work.label, work.numbers(), work.text, width)
    bar = ProgressBar(total=work.total, completed=work.done, width=columns, pulse=work.total is None)
    cells: list[Any] = [Text(label), bar, Text(numbers, style="cyan"), Text(text)]
    row = Table.grid(padding=(0, 1, 0, 0))
    for _ in cells:
        row.add_column(no_wrap=True)
    row.add_row(*cells)
    return row


def fitted(label: str, numbers: str, text: str, width: int) -> tuple[str, int, str, str]:
    """Shortens label and text so that the numbers and a bar have room; returns all, with the bar's width."""
    room = width - len(numbers) - SHORTEST - 4  # a space behind each cell
    label = _shortened(label, max(room // 3, room - len(text)) if text else room)
    room -= len(label)
    parts = text.split("  ")
    while len(parts) > 1 and len("  ".join(parts)) > room:
        parts.pop()  # what was cut off a number would be another one
    text = "  ".join(parts)
    text = text if len(text) <= room else f"{text[: room - 1].rstrip()}…" if room >= SHORTEST else ""
    return label, min(SHORTEST + max(room - len(text), 0), LONGEST), numbers, text


def _shortened(text: str, width: int) -> str:
    """Returns the text with its middle left out, where it is too long."""
    if len(text) <= width:
        return text
    if width < 2:
        return ""
    end = width // 2
    return f"{text[: width - end - 1]}…{text[len(text) - end :]}"
