import io
import itertools
import logging
import re
import sys
from contextlib import suppress
from types import ModuleType, SimpleNamespace

import pytest

from zoo._progress import bytes_bar, steps_bar, terminal, work


class Clock:
    """A clock that stands still until somebody sets it."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    clock = Clock()
    monkeypatch.setattr(work, "time", clock)
    terminal._console.cache_clear()  # another test's has its width
    return clock


class Terminal(io.StringIO):
    """A terminal that remembers what was written."""

    def isatty(self):
        return True

    def lines(self):
        """Returns all lines that were ever drawn or printed."""
        return [
            line.rstrip()
            for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue()))
        ]


def fetch(clock, seconds):
    with bytes_bar("pets: model.safetensors") as report:
        for _ in range(seconds):
            report(int(10e6 * (clock.now - 100)), 450_000_000)
            clock.now += 1


def test_without_a_terminal_a_line_is_printed_now_and_then(clock, capsys):
    fetch(clock, 45)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        *(
            f"zoo: pets: model.safetensors: {done} of 450 MB, 10.0 MB/s, {45 - done // 10} s left"
            for done in (100, 200, 300, 400)
        ),
        "zoo: pets: model.safetensors: 440 MB in 45 s",
    ]


def test_steps_are_printed_with_what_is_said_of_them(clock, capsys):
    with steps_bar("tiny", 90) as report:
        for step, seconds in enumerate((600, 60, 60)):  # first it is compiled
            report(step, "accuracy 0.5  loss 1.25" if step else "compiling")
            clock.now += seconds
    assert capsys.readouterr().err.splitlines() == [
        "zoo: tiny: 1 of 90, accuracy 0.5, loss 1.25",
        "zoo: tiny: 2 of 90, 1 h 28 min left, accuracy 0.5, loss 1.25",
        "zoo: tiny: 2 of 90 in 12 min 0 s, accuracy 0.5, loss 1.25",
    ]


def test_short_work_silenced_work_and_work_that_fails_print_no_end(clock, capsys, monkeypatch):
    fetch(clock, 9)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    fetch(clock, 30)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    with suppress(KeyError), steps_bar("", None):
        clock.now += 60
        raise KeyError
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", [None, "closed", "broken"])
def test_where_nobody_reads_work_goes_on(clock, monkeypatch, gone):
    stream = None if gone is None else io.StringIO()
    if gone == "closed":
        stream.close()
    if gone == "broken":
        stream.write = lambda text: (_ for _ in ()).throw(BrokenPipeError)
    monkeypatch.setattr(sys, "stderr", stream)
    fetch(clock, 30)


def test_speed_is_that_of_late_and_of_what_came_now(clock):
    piece = work.Work("", in_bytes=True)
    for second in range(100):  # resumed at 1 GB, and much faster at first
        clock.now += 1
        piece.update(10**9 + 10**8 * min(second, 10) + 10**6 * second, 2 * 10**9)
    assert piece.speed() == pytest.approx(10**6, rel=0.05)
    piece.update(0, 2 * 10**9)  # from the beginning
    assert piece.speed() is None
    assert piece.line() == "0.00 of 2.00 GB"


LABELS = ("x", "pets: model.safetensors", "a-long-name-of-a-model: model-00001-of-00004.safetensors")
NUMBERS = ("4/40 0:27", "450/450 MB 12.0 MB/s 0:27")
TEXTS = ("", "accuracy 0.4392  loss 1.8702  validation_accuracy 0.4433")


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_a_bar_has_room_on_one_line(width):
    for label, numbers, text in itertools.product(LABELS, NUMBERS, TEXTS):
        shown, bar, kept, said = terminal.fitted(label, numbers, text, width)
        assert len(shown) + bar + len(kept) + len(said) + 3 < width
        assert (kept, bar >= 10) == (numbers, True)
        if shown != label:
            start, _, end = shown.partition("…")
            assert start
            assert label.startswith(start)
            assert label.endswith(end)
        assert text.startswith(said.removesuffix("…"))


def test_a_text_comes_before_a_long_label():
    label, _, _, said = terminal.fitted("resnet20_cifar10-finetuned", "0/6 -:--", "epoch 1/2  compiling", 60)
    assert (label, said) == ("resnet20…finetuned", "epoch 1/2  compiling")


def test_a_terminal_shows_bars_and_what_is_printed_meanwhile_above_them(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    text = "accuracy 0.4392  loss 1.8702  validation_accuracy 0.4433"
    log = logging.StreamHandler()
    logging.getLogger("zoo").addHandler(log)
    try:
        with steps_bar("resnet20_cifar10", 4) as report:
            print("before", file=sys.stderr)
            report(1, text)
            clock.now += 27
            report(2, text)
            logging.getLogger("zoo").warning("logged")
            print("printed", file=sys.stderr)
            with bytes_bar("pets: model.safetensors") as inner:
                inner(10_000_000, 45_000_000)
    finally:
        logging.getLogger("zoo").removeHandler(log)
    assert log.stream is sys.stderr
    lines = terminal.lines()
    assert {"before", "logged", "printed"} < {*lines}
    # What has no room is left out whole: a part of a number is another number.
    assert [line.split("━ ")[-1] for line in lines if "0:54" in line] == ["2/4 0:54 accuracy 0.4392"]
    assert not [
        line for line in lines if len(line) > 59 or ("resnet" in line) + ("pets" in line) + ("ed" in line) > 1
    ]


def test_a_notebook_shows_a_line_that_changes(clock, capsys, monkeypatch):
    shown = []

    class Handle:
        def update(self, content, *, raw):
            shown.append(content["text/plain"])

    def display(content, *, raw, display_id):
        Handle().update(content, raw=raw)
        return Handle()

    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    fetch(clock, 3)
    assert shown == [
        "pets: model.safetensors  ░░░░░░░░░░░░░░░░░░░░   10/450 MB 10.0 MB/s 0:44",
        "pets: model.safetensors  ░░░░░░░░░░░░░░░░░░░░   20/450 MB 10.0 MB/s 0:43",
        "pets: model.safetensors: 20.0 MB in 3 s",
    ]
    assert capsys.readouterr().err == ""
