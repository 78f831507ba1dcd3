"""Sentences for what ends a verb, and None for what is a flaw of the zoo's own."""

import os
import re
import sys
import traceback
from inspect import getfile
from pathlib import Path

import typer

from converters.errors import ConverterError
from zoo._errors import ZooError
from zoo.cli.backend import trouble
from zoo.cli.modules import described, place_in_own_file

# Of ours, of typer, and of click, which is in a package of its own with older versions of typer.
PRINTING = (
    Path(__file__).parent,
    Path(typer.__file__).parent,
    Path(getfile(typer.Context.__mro__[1])).parent,
)
HIDDEN = re.compile(r"\.[0-9a-f]{8,}\.tmp")  # a file or directory until it is complete


def refusal(error: Exception) -> str | None:
    """Returns what happened and what to do, for a user's mistake or a machine's limit."""
    place = place_in_own_file(error)
    known = str(error) if isinstance(error, ZooError | ConverterError) else trouble(error)
    if known:
        return f"{known}{place}"
    if place:
        return f"{described(error)}{place}"
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, UnicodeDecodeError):
        return f"the input is not UTF-8: it has the byte {error.object[error.start]:#x} at {error.start:,}."
    if isinstance(error, UnicodeEncodeError):
        odd = error.object[error.start]
        return f"{error.encoding} has no {odd!a}; with PYTHONIOENCODING=utf-8 it is printed."
    return None


def _of_system(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is not None:
        path = os.fsdecode(error.filename)
        name = os.path.basename(path)
        shown = os.path.dirname(path) or "." if HIDDEN.fullmatch(name) else path
        return f"{shown!r}: {reason}"
    return f"standard output cannot be written: {reason}" if _was_printing(error) else reason


def _was_printing(error: OSError) -> bool:
    """Returns whether a verb or typer wrote, and no other library."""
    place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return any(folder in place.parents for folder in PRINTING)


def drop_stdout() -> None:
    """Lets go of what is still to be printed, of which the interpreter would complain when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
