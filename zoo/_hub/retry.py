"""Retries of network requests: how often, and how long to wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from zoo._hub.errors import NetworkError, TemporaryError

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits of network requests.

    Attributes:
        read_timeout: Seconds without a byte after which a connection counts as dead.
        total_timeout: Seconds without progress, over all attempts; a server may not ask for a longer wait.
        attempts: Attempts in a row without progress.
        pause: Seconds before the second attempt; before each further one twice as many.
        lock_timeout: Seconds to wait for a lock that another process holds.
    """

    read_timeout: float = 20.0
    total_timeout: float = 120.0
    attempts: int = 6
    pause: float = 1.0
    lock_timeout: float = 3600.0


LIMITS = Limits()


class Retries:
    """Counts failed attempts at one thing, and waits between them."""

    def __init__(self) -> None:
        self._limits = LIMITS
        self.reset()

    def reset(self) -> None:
        """Notes progress: the count of failures starts again."""
        self._failures = 0
        self.touch()

    def touch(self) -> None:
        """Notes that a connection delivers bytes, even if an earlier one delivered them already."""
        self._since = time.monotonic()

    def check(self) -> None:
        """Refuses a connection that is alive, but makes no progress."""
        if time.monotonic() - self._since > self._limits.total_timeout:
            raise NetworkError(f"almost nothing arrived in {self._limits.total_timeout:g} s; try again later")

    def wait(self, trouble: NetworkError) -> None:
        """Waits before the next attempt.

        Raises:
            NetworkError: another attempt is pointless, or the limits are reached.
        """
        if not isinstance(trouble, TemporaryError):
            raise trouble
        self._failures += 1
        wait = self._limits.pause * 2 ** (self._failures - 1) if trouble.wait is None else trouble.wait
        left = self._since + self._limits.total_timeout - time.monotonic()
        if trouble.wait is not None and wait > left:
            raise NetworkError(f"{trouble} and asks to wait {wait:,.0f} s; try again later")
        if self._failures >= self._limits.attempts or wait > left:
            of = f"attempt {self._failures} of {self._limits.attempts}"
            raise NetworkError(f"{trouble}, {of}; try again later")
        time.sleep(wait)

    def run(self, attempt: Callable[[], Result]) -> Result:
        """Returns the result of the first attempt that succeeds."""
        while True:
            try:
                return attempt()
            except NetworkError as trouble:
                self.wait(trouble)
