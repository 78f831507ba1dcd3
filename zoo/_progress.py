"""Progress of long work, on standard error.

A terminal shows a bar, a notebook a line that changes. Elsewhere, in logs and pipes, work of more than ten
seconds prints a line now and then. HF_HUB_DISABLE_PROGRESS_BARS=1 silences all, as it does huggingface_hub.
"""

import importlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import cache
from typing import Any, TextIO, TypeAlias

BytesReport: TypeAlias = Callable[[int, int | None], None]  # takes the bytes done, and how many there are
StepsReport: TypeAlias = Callable[[int, str], None]  # takes the steps done, and a text to show after them
Refresh: TypeAlias = Callable[[], None]

EVERY = 10.0  # seconds between lines of a log; shorter work prints none
NOTEBOOK = 0.5  # seconds between changes of a notebook's line; shorter work shows none
WINDOW = 30.0  # seconds that the speed is taken from
SHORTEST, LONGEST = 10, 40  # columns of a bar
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))


def is_terminal(stream: TextIO | None) -> bool:
    """Returns whether the stream is a terminal, which a person reads or writes."""
    return stream is not None and not stream.closed and stream.isatty()


@contextmanager
def bytes_bar(label: str = "") -> Iterator[BytesReport]:
    """Shows how many bytes are done, with their rate and the remaining time."""
    work = _Work(label, in_bytes=True)
    with _shown(work, transient=True) as refresh:

        def report(done: int, total: int | None) -> None:
            work.update(done, total)
            refresh()

        yield report


@contextmanager
def steps_bar(label: str, total: int | None, *, transient: bool = False) -> Iterator[StepsReport]:
    """Shows how many steps are done, with the remaining time and the text of the last report.

    Args:
        label: Text before the bar.
        total: Number of steps, if known.
        transient: If true, nothing is left on a terminal afterwards.
    """
    work = _Work(label)
    with _shown(work, transient=transient) as refresh:

        def report(done: int, text: str) -> None:
            work.update(done, total, text)
            refresh()

        yield report


class _Work:
    """A piece of work, and how it goes.

    Attributes:
        began: Time at which it began, in seconds.
    """

    def __init__(self, label: str, *, in_bytes: bool = False) -> None:
        self.label, self.text = label, ""
        self.done, self.total = 0, None
        self.began = time.monotonic()
        self._in_bytes = in_bytes
        self._samples: deque[tuple[float, int]] = deque()  # times, and what was done by then

    done: int
    total: int | None

    def update(self, done: int, total: int | None, text: str = "") -> None:
        """Takes what a report says."""
        now = time.monotonic()
        if done < self.done:  # it began again
            self._samples.clear()
        self.done, self.total, self.text = done, total, text
        if not self._samples or now - self._samples[-1][0] > WINDOW / 100:
            self._samples.append((now, done))
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()

    def seconds(self) -> float:
        """Returns the time since it began."""
        return time.monotonic() - self.began

    def speed(self) -> float | None:
        """Returns what was done in a second lately; None while that is unknown."""
        if not self._samples or self.done == self._samples[0][1]:
            return None
        since, first = self._samples[0]
        return (self.done - first) / max(time.monotonic() - since, 1e-3)

    def left(self) -> float | None:
        """Returns the seconds that remain; None while they are unknown."""
        speed = self.speed()
        return (self.total - self.done) / speed if speed and self.total is not None else None

    def counts(self, between: str) -> str:
        """Returns what is done, and of how much, if that is known."""
        if not self.total:
            return _bytes(self.done) if self._in_bytes else f"{self.done:,}"
        if not self._in_bytes:
            return f"{self.done:,}{between}{self.total:,}"
        return f"{_in_unit(self.done, _unit(self.total), self.total)}{between}{_bytes(self.total)}"

    def rate(self) -> str:
        """Returns the speed of bytes in short; nothing while it is unknown, and for steps."""
        speed = self.speed()
        return f"{_bytes(speed)}/s" if speed and self._in_bytes else ""

    def numbers(self) -> str:
        """Returns what stands behind a bar: the counts, the rate and the time; at the end the time taken."""
        over = self.total is not None and self.done >= self.total
        clock = _clock(self.seconds() if over else self.left())
        done, *of = self.counts("/").split("/")
        counts = "/".join((done.rjust(len(of[0].split()[0])), *of)) if of else done  # so that it stays put
        return " ".join(each for each in (counts, self.rate(), clock) if each)

    def line(self) -> str:
        """Returns all of it, as a line of a log."""
        left = self.left()
        parts = [
            self.counts(" of "),
            self.rate(),
            "" if left is None else f"{_duration(left)} left",
            *self._texts(),
        ]
        return self._labelled(parts)

    def last_line(self) -> str:
        """Returns the line of a log after the work."""
        amount = _bytes(self.done) if self._in_bytes else self.counts(" of ")
        return self._labelled([f"{amount} in {_duration(self.seconds())}", *self._texts()])

    def _texts(self) -> list[str]:
        return [each.strip() for each in self.text.split("  ")]

    def _labelled(self, parts: list[str]) -> str:
        return (f"{self.label}: " if self.label else "") + ", ".join(each for each in parts if each)


def _shown(work: _Work, *, transient: bool) -> AbstractContextManager[Refresh]:
    """Returns the way to show it that suits where standard error goes."""
    if os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE"):
        return nullcontext(lambda: None)
    if _in_notebook():
        return _notebook_line(work)
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
        return _bar(work, transient=transient)
    return _lines(work)


@contextmanager
def _lines(work: _Work) -> Iterator[Refresh]:
    """Prints a line now and then."""
    due = work.began + EVERY

    def refresh() -> None:
        nonlocal due
        if time.monotonic() >= due:
            _print(work.line())
            due = time.monotonic() + EVERY

    yield refresh
    if work.seconds() >= EVERY:
        _print(work.last_line())


def _print(line: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more, which is no reason to stop the work
        print(f"zoo: {line}", file=sys.stderr, flush=True)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def _notebook_line(work: _Work) -> Iterator[Refresh]:
    """Shows a line below the cell, and changes it."""
    due, shown = work.began + NOTEBOOK, None
    display: Any = importlib.import_module("IPython.display").display

    def show(text: str) -> None:
        nonlocal shown
        content = {"text/plain": text}
        if shown is None:
            shown = display(content, raw=True, display_id=True)
        else:
            shown.update(content, raw=True)

    def refresh() -> None:
        nonlocal due
        if time.monotonic() >= due:
            filled = int(SHORTEST * 2 * min(work.done / work.total, 1)) if work.total else 0
            bar = "█" * filled + "░" * (SHORTEST * 2 - filled)
            show("  ".join(each for each in (work.label, bar, work.numbers(), work.text) if each))
            due = time.monotonic() + NOTEBOOK

    yield refresh
    if shown is not None:
        show(work.last_line())


@contextmanager
def _bar(work: _Work, *, transient: bool) -> Iterator[Refresh]:
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


def _drawn(work: _Work, width: int) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    label, columns, numbers, text = _fitted(work.label, work.numbers(), work.text, width)
    bar = ProgressBar(total=work.total, completed=work.done, width=columns, pulse=work.total is None)
    cells: list[Any] = [Text(label), bar, Text(numbers, style="cyan"), Text(text)]
    row = Table.grid(padding=(0, 1, 0, 0))
    for _ in cells:
        row.add_column(no_wrap=True)
    row.add_row(*cells)
    return row


def _fitted(label: str, numbers: str, text: str, width: int) -> tuple[str, int, str, str]:
    """Shortens label and text so that the numbers and a bar have room; returns all, with the bar's width."""
    room = width - len(numbers) - SHORTEST - 4  # a space behind each cell
    label = _shortened(label, max(room // 2, room - len(text)) if text else room)
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


def _unit(size: float) -> tuple[str, float]:
    return next((unit for unit in UNITS if size >= unit[1]), UNITS[-1])


def _in_unit(size: float, unit: tuple[str, float], largest: float) -> str:
    """Returns a size as a number of units, with as many digits as the largest needs to have three."""
    digits = 0 if unit[1] == 1 else max(0, 3 - len(str(int(largest / unit[1]))))
    return f"{size / unit[1]:,.{digits}f}"


def _bytes(size: float) -> str:
    unit = _unit(size)
    return f"{_in_unit(size, unit, size)} {unit[0]}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
