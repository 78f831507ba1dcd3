"""A piece of work, and how it goes."""

import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Refresh: TypeAlias = Callable[[], None]

WINDOW = 30.0  # seconds that the speed is taken from
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))


class Work:
    """A piece of work, and how it goes.

    Attributes:
        began: Time at which it began, in seconds.
    """

    def __init__(self, label: str, *, in_bytes: bool = False, start: int = 0) -> None:
        self.label, self.text = label, ""
        self.done, self.total = start, None
        self._start = start
        self.began = time.monotonic()
        self._in_bytes = in_bytes
        self._samples: deque[tuple[float, int]] = deque()  # times, and what was done by then

    done: int
    total: int | None

    def update(self, done: int, total: int | None, text: str = "") -> None:
        """Takes what a report says."""
        now = time.monotonic()
        # It began again; or the first step is done, whose time is that of its compilation, too.
        if done < self.done or (self.done == self._start and not self._in_bytes):
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
