"""A module of the user's own on the command line: where its factory is, and where it went wrong."""

import importlib
import linecache
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from inspect import getattr_static, getfile, signature
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
        ZooError: it raises, or returns none of linen's modules.
    """
    made = make_own(text)
    if made is not None and not hasattr(made, "apply"):
        raise ZooError(
            f"--module {text}: a module of NNX, which zoo convert, export and verify take; this takes "
            "one of linen."
        )
    return made


def make_own(text: str | None) -> Any:
    """Returns the same, or of an NNX module its `NnxTarget`; its class may take `rngs` alone.

    Raises:
        BadParameter: there is no such factory.
        ZooError: it raises, or returns none of Flax's modules.
    """
    return (
        None if text is None else _made(text, "--module ", "a Flax module", ("apply", "inspections"), _flax)
    )


def make_torch(text: str) -> Any:
    """Returns the torch.nn.Module that `pkg.mod:factory` makes; raises as `make`."""
    return _made(text, "", "a torch.nn.Module", ("named_modules",))


def _made(
    text: str,
    flag: str,
    kind: str,
    methods: Sequence[str],
    call: Callable[[Callable[..., Any]], Any] = lambda factory: factory(),
) -> Any:
    """Returns what the call of a factory gives; this kind of things has one of the methods."""
    place, _, name = text.partition(":")
    sys.path.insert(0, os.getcwd())  # where a console script does not look by itself
    try:
        factory = getattr(_imported(place, f"{flag}{text}"), name, None)
        if not callable(factory):
            raise typer.BadParameter(f"{flag}{text}: {place!r} has no function {name!r}")
        try:
            made = call(factory)
        except Exception as error:
            raise ZooError(f"{flag}{text}: {described(error)}") from error
    finally:
        sys.path.remove(os.getcwd())
    if not any(hasattr(made, method) for method in methods):
        raise ZooError(f"{flag}{text}: expected {kind}, {name!r} returns a {type(made).__name__}.")
    return made


def _flax(factory: Callable[..., Any]) -> Any:
    """Returns what a factory makes, or the target of the NNX module that it makes; its class takes `rngs`."""
    nnx = sys.modules.get("flax.nnx")  # imported, if the module is of it
    build = factory
    if nnx is not None and isinstance(factory, type) and issubclass(factory, nnx.Module):
        # The signature of the class is that of its metaclass.
        streams = [
            name for name in signature(getattr_static(factory, "__init__")).parameters if name == "rngs"
        ]

        def build() -> Any:
            return factory(**{name: nnx.Rngs(0) for name in streams})
    else:
        made = factory()
        if nnx is None or not isinstance(made, nnx.Module):
            return made
    from converters.nnx import NnxTarget

    return NnxTarget.of(build)


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
