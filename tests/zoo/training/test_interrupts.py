import signal
import threading
import time

import pytest

from zoo.training.interrupts import wait_for


def test_a_wait_gives_what_the_call_gives_or_raises():
    assert wait_for(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 / 0)


def test_a_signal_ends_a_wait_while_the_call_goes_on():
    ended = threading.Event()
    start = time.monotonic()
    threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        wait_for(lambda: ended.wait(20))
    assert time.monotonic() - start < 10
    ended.set()
