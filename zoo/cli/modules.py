"""A module of the user's own on the command line: where its factory is, and where it went wrong."""

import importlib
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator
from inspect import getfile
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, Any

import typer

from converters.errors import ConverterError
from zoo._errors import ZooError

Module = Annotated[
    str | None,
    typer.Option(
        metavar="PKG.MOD:FACTORY", help="A function without arguments that returns a module of your own."
    ),
]

OURS = f"{Path(__file__).parents[1]}{os.sep}"
# Files in here are not the user's.
LIBRARIES = (
    *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    f"{Path(getfile(ConverterError)).parent}{os.sep}",
    OURS,
)


def make(text: str | None) -> Any:
    """Returns the module that `pkg.mod:factory` makes, also in the working directory; None for none.

    Raises:
        BadParameter: there is no such factory.
        ZooError: it raises, or returns none of Flax's modules.
    """
    return None if text is None else _made(text, "--module ", "a Flax module", "apply")


def make_torch(text: str) -> Any:
    """Returns the torch.nn.Module that `pkg.mod:factory` makes; raises as `make`."""
    return _made(text, "", "a torch.nn.Module", "named_modules")


def _made(text: str, flag: str, kind: str, method: str) -> Any:
    """Returns what a factory makes; `method` is one that this kind of modules has."""
    place, _, name = text.partition(":")
    sys.path.insert(0, os.getcwd())  # where a console script does not look by itself
    try:
        factory = getattr(_imported(place, f"{flag}{text}"), name, None)
        if not callable(factory):
            raise typer.BadParameter(f"{flag}{text}: {place!r} has no function {name!r}")
        try:
            made = factory()
        except Exception as error:
            raise ZooError(f"{flag}{text}: {described(error)}") from error
    finally:
        sys.path.remove(os.getcwd())
    if not hasattr(made, method):
        raise ZooError(f"{flag}{text}: expected {kind}, {name!r} returns a {type(made).__name__}.")
    return made


def _imported(place: str, text: str) -> Any:
    try:
        return importlib.import_module(place)
    except (ModuleNotFoundError, ValueError, TypeError) as error:
        missing = getattr(error, "name", None)
        if missing is not None and not f"{place}.".startswith(f"{missing}."):
            raise ZooError(f"{text}: {described(error)}") from error
        raise typer.BadParameter(f"{text}: {error}") from error
    except Exception as error:
        raise ZooError(f"{text}: {described(error)}") from error


def described(error: BaseException) -> str:
    """Returns the type and the first line of an exception, as the last line of a traceback has them."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def place_in_own_file(error: BaseException | None) -> str:
    """Returns the last line of a file of the user's that an exception, or its cause, came from.

    Returns:
        A line of a message, `\\n  mine.py, line 12: return self.head(x)`; empty where no such file took part.
    """
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename:
            return f"\n  {_line(error.filename, error.lineno or 0)}"
        *_, place = (None, *_places(error))
        if place:
            return f"\n  {_line(*place)}"
        error = error.__cause__
    return ""


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    """Yields files of the user's and lines in them, from the outermost call that a verb made."""
    inside = False
    for frame, line in walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        inside = inside or file.startswith(OURS)
        # Some have no file: "<string>", "<frozen importlib>".
        if inside and os.path.isabs(file) and not file.startswith(LIBRARIES):
            yield file, line


def _line(file: str, line: int) -> str:
    shown = os.path.relpath(file) if file.startswith(f"{os.getcwd()}{os.sep}") else file
    code = linecache.getline(file, line).strip()
    return f"{shown}, line {line}{f': {code}' if code else ''}"
