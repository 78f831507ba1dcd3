"""Waits that a signal ends: XLA, while it compiles or computes, looks at no signal that Python has got."""

import atexit
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import jax

Result = TypeVar("Result")
WAKE = 0.2  # seconds after which a wait looks for signals


def compiled(function: jax.stages.Wrapped, *args: Any) -> Callable[..., Any]:
    """Compiles a jitted function for these arguments, as its call would and where later calls find it.

    Raises:
        KeyboardInterrupt: or whatever else a signal raises in the main thread meanwhile.
    """
    # Traced here: JAX's settings may be those of this thread alone.
    program: Callable[..., Any] = wait_for(function.lower(*args).compile)
    return program


def finished(arrays: Result) -> Result:
    """Returns the arrays when they are computed; raises as `compiled` does."""

    def computed() -> Result:
        jax.block_until_ready(arrays)
        return arrays

    return wait_for(computed)


def wait_for(call: Callable[[], Result]) -> Result:
    """Returns what the call returns in a thread of its own, for which this one waits until a signal comes.

    The call itself goes on after a signal; the process does not end before it.
    """
    outcome: Future[Result] = Future()
    done = threading.Event()

    def settle() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # the waiting thread raises it
            outcome.set_exception(error)
        finally:
            done.set()

    thread = threading.Thread(target=settle, daemon=True)
    thread.start()
    try:
        # Again and again, since a signal that another thread gets does not wake this one.
        while not done.wait(WAKE):
            pass
        return outcome.result()
    except BaseException:
        if not done.is_set():
            atexit.register(thread.join)
        raise
