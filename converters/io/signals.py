"""Signals that end a process, as exceptions that unwind it."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType


def raise_exit(number: int, frame: FrameType | None) -> None:
    """Handles a signal by an exception, so that files and locks are cleaned up."""
    if _is_ignored(frame):
        _send_later(number)
        return
    error = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
    error.__dict__["signal"] = number  # by which `exceptions_from` knows it
    raise error


def _send_later(number: int) -> None:
    """Sends this process the signal in a moment."""
    again = threading.Timer(0.01, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _is_ignored(frame: FrameType | None) -> bool:
    """Returns whether Python would ignore an exception, as it does in what it calls to collect garbage."""
    codes = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None and not (frame.f_code in codes or _frees(frame)):
        frame = frame.f_back
    return frame is not None


def _frees(frame: FrameType) -> bool:
    """Returns whether it is called because an object goes: by itself, or from a weak collection."""
    weak = frame.f_globals.get("__name__") in ("weakref", "_weakrefset")
    return frame.f_code.co_name in ("__del__", *(("remove", "_remove", "__call__") if weak else ()))


@contextmanager
def exceptions_from(numbers: Iterable[int]) -> Iterator[None]:
    """Turns these signals into exceptions within the block; only the main thread may call it.

    Python ignores exceptions in what it calls while it frees objects. Where the stack shows that, the signal
    waits; where it does not (callbacks of weak references, generators that are closed), it is sent again.
    """

    def report(ignored: "sys.UnraisableHookArgs") -> None:
        number = getattr(ignored.exc_value, "signal", None)
        if number is None:
            hook(ignored)
        else:
            _send_later(number)

    hook, sys.unraisablehook = sys.unraisablehook, report
    previous = {number: signal.signal(number, raise_exit) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Turns the signals that end a process without cleaning up into SystemExit, as Ctrl-C is an exception."""
    ours = [
        number
        for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}  # Windows has no SIGHUP
        # Only the main thread may set handlers, and a handler that the program chose stays.
        if threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) is signal.SIG_DFL
    ]
    with exceptions_from(ours) if ours else nullcontext():
        yield
