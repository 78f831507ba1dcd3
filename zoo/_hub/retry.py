"""What can go wrong on a network, what of it is worth another attempt, and when it is enough."""

import email.utils
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """How long to wait.

    Attributes:
        silence: Seconds without a byte after which a connection counts as dead.
        patience: Seconds without progress, over all attempts; a server that asks for more is not waited for.
        attempts: In a row without progress.
        pause: Seconds before the second attempt; before each further one twice as many.
        turn: Seconds for which another process may hold what this one needs.
    """

    silence: float = 20.0
    patience: float = 120.0
    attempts: int = 6
    pause: float = 1.0
    turn: float = 3600.0


LIMITS = Limits()


class NetworkError(Exception):
    """What went wrong, whether another attempt may go better, and when the server asks for it (seconds)."""

    def __init__(self, text: str, *, again: bool = False, wait: float | None = None) -> None:
        super().__init__(text)
        self.again, self.wait = again, wait


class RefusedError(NetworkError):
    """A server's answer that stays the same, however often one asks."""


class Patience:
    """Attempts at one thing."""

    def __init__(self) -> None:
        self._limits = LIMITS
        self.progress()

    def progress(self) -> None:
        """Notes that something was achieved: the count of failures starts again."""
        self._failures = 0
        self.moving()

    def moving(self) -> None:
        """Notes that a connection does its work, if only what another one has done before."""
        self._since = time.monotonic()

    def check(self) -> None:
        """Refuses a connection that is alive, but leads nowhere."""
        if time.monotonic() - self._since > self._limits.patience:
            raise NetworkError(f"next to nothing came in {self._limits.patience:g} s; try again later")

    def pause(self, trouble: NetworkError) -> None:
        """Waits before the next attempt.

        Raises:
            NetworkError: there is no point in one.
        """
        self._failures += 1
        wait = self._limits.pause * 2 ** (self._failures - 1) if trouble.wait is None else trouble.wait
        left = self._since + self._limits.patience - time.monotonic()
        if not trouble.again:
            raise trouble
        if trouble.wait is not None and wait > left:
            raise NetworkError(f"{trouble} and asks to wait {wait:,.0f} s; try again later")
        if self._failures >= self._limits.attempts or wait > left:
            of = f"attempt {self._failures} of {self._limits.attempts}"
            raise NetworkError(f"{trouble}, {of}; try again later")
        time.sleep(wait)

    def run(self, attempt: Callable[[], Result]) -> Result:
        """The result of the first attempt that goes well."""
        while True:
            try:
                return attempt()
            except NetworkError as trouble:
                self.pause(trouble)


# What an exception means, and whether another attempt may go better; the first that fits.
MEANINGS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, bool], ...] = (
    (socket.gaierror, "the host is not found; check the network", False),
    (ssl.SSLCertVerificationError, "the certificate is not accepted; check the clock and the proxy", False),
    (ConnectionRefusedError, "the host refuses connections; check the network", False),
    (TimeoutError, "the connection fell silent", True),
    (ssl.SSLError, "the connection broke", True),
    # What an address is found to be when it is used; UnicodeError among them.
    ((http.client.InvalidURL, ValueError), "an address is malformed, of the server or of a proxy", False),
    ((ConnectionError, http.client.HTTPException), "the connection broke", True),
)

REDIRECTS = "it redirects without end, or to where no file is"
REFUSALS = {
    401: "it needs a login",
    403: "access to it is forbidden",
    404: "there is no such file",
    410: "the file is gone",
}


def meaning(error: BaseException) -> NetworkError:
    """What an exception of an HTTP client means; none of its own words, which may hold signed addresses."""
    for cause in _causes(error):
        for kinds, text, again in MEANINGS:
            if isinstance(cause, kinds):
                return NetworkError(text, again=again)
    system = next((cause.strerror for cause in _causes(error) if isinstance(cause, OSError)), None)
    return NetworkError(f"the network gives {system or type(error).__name__}; check it, and the proxy if any")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The innermost last: what the operating system said, below what clients made of it."""
    while error is not None:
        yield error
        reason = getattr(error, "reason", None)  # urllib's
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__


def status_meaning(status: int, headers: Mapping[str, str]) -> NetworkError:
    """What an HTTP status other than success means."""
    if status in (408, 429) or status >= 500:
        what = "the server has too many requests" if status == 429 else "the server is out of order"
        return NetworkError(
            f"{what} (HTTP {status})",
            again=True,
            wait=_retry_after({name.lower(): value for name, value in headers.items()}),
        )
    what = REDIRECTS if 300 <= status < 400 else REFUSALS.get(status, "the server refuses")
    return RefusedError(f"{what} (HTTP {status})")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, which the header gives as such or as a date."""
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
