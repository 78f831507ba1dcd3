"""Texts as the command line takes them: arguments, or the lines of standard input."""

import sys
from collections.abc import Sequence
from pathlib import Path

from zoo._errors import ZooError

STDIN = "-"


def lines(texts: Sequence[str], verb: str) -> list[str]:
    """Returns the texts; those of standard input, one a line, in place of a '-'.

    Args:
        texts: The arguments.
        verb: The verb with the model's name, for advice.

    Raises:
        ZooError: one is the name of a file, or none is left.
    """
    files = [each for each in texts if each != STDIN and _is_file(each)]
    if files:
        raise ZooError(f"{files[0]!r} is a file, not a text; for its lines, `zoo {verb} - < {files[0]}`.")
    found = [line for each in texts for line in (_stdin() if each == STDIN else [each])]
    if not found:
        raise ZooError("there are no texts on standard input.")
    return found


def prompt(text: str) -> str:
    """Returns the text, or all of standard input, but for the end of its last line, in place of '-'."""
    return sys.stdin.read().removesuffix("\n") if text == STDIN else text


def _stdin() -> list[str]:
    return [line for line in sys.stdin.read().split("\n") if line.strip()]


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False
