"""Signals that end a process, as exceptions that unwind it."""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def raise_exit(number: int, frame: FrameType | None) -> None:
    """Handles a signal by an exception, so that files and locks are cleaned up."""
    if _is_ignored(frame):
        # A moment later, then.
        again = threading.Timer(0.01, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def _is_ignored(frame: FrameType | None) -> bool:
    """Returns whether Python would ignore an exception, as it does in what it calls to collect garbage."""
    codes = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None and not (frame.f_code in codes or _frees(frame)):
        frame = frame.f_back
    return frame is not None


def _frees(frame: FrameType) -> bool:
    """Returns whether it is called because an object goes: by itself, or from a weak collection."""
    weak = frame.f_globals.get("__name__") in ("weakref", "_weakrefset")
    return frame.f_code.co_name in ("__del__", *(("remove", "_remove") if weak else ()))


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
    for number in ours:
        signal.signal(number, raise_exit)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
