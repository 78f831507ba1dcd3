"""Standard error, which progress is shown on."""

import sys
from contextlib import suppress
from typing import TextIO


def is_terminal(stream: TextIO | None) -> bool:
    """Returns whether the stream is a terminal, which a person reads or writes."""
    return stream is not None and not stream.closed and stream.isatty()


def print_line(line: str) -> None:
    """Prints a line of a log."""
    with suppress(OSError, ValueError):  # nobody reads it any more, which is no reason to stop the work
        print(f"zoo: {line}", file=sys.stderr, flush=True)
