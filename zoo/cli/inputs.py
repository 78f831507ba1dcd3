"""Inputs of verbs: arguments, and the lines of files or of standard input."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from zoo._errors import ZooError

STDIN = "-"

Lines = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="A file with one input a line, besides the arguments."),
]


def check_given(arguments: Sequence[str] | None, file: Path | None, noun: str) -> list[str]:
    """Returns the arguments.

    Raises:
        BadParameter: there are none, and no file.
    """
    if not arguments and file is None:
        raise typer.BadParameter(f"give {noun}, '-' for the lines of standard input, or --file")
    return [*(arguments or ())]


def are_files(arguments: Sequence[str]) -> bool:
    """Returns whether the arguments are names of files, or of folders, one at least."""
    return bool(arguments) and all(_is(each, Path.exists) for each in arguments)


def texts(arguments: Sequence[str], file: Path | None, verb: str) -> Iterator[str]:
    """Yields texts: arguments, lines of standard input in place of a '-', and lines of the file.

    Args:
        arguments: Arguments of the verb.
        file: A file of lines.
        verb: The verb with the model's name, for advice.

    Raises:
        ZooError: an argument is the name of a file, a line is no text, or there is none.
    """
    files = [each for each in arguments if each != STDIN and _is(each, Path.is_file)]
    if files:
        raise ZooError(f"{files[0]!r} is a file, not a text; for its lines, `zoo {verb} --file {files[0]}`.")
    return _some(_texts(arguments, file), "texts", file)


def pictures(arguments: Sequence[str], file: Path | None) -> Iterator[str]:
    """Yields names of pictures: arguments, with all pictures of a folder in place of it, and lines.

    Raises:
        ZooError: a folder has no pictures, or there is no name.
    """
    return _some(_pictures(arguments, file), "names of pictures", file)


def names(arguments: Sequence[str], file: Path | None) -> Iterator[str]:
    """Yields names of files: arguments, lines of standard input in place of a '-', and lines of the file.

    Raises:
        ZooError: there is none.
    """
    return _some((os.fsdecode(line) for _, line in _expanded(arguments, file)), "names of files", file)


def _texts(arguments: Sequence[str], file: Path | None) -> Iterator[str]:
    for place, line in _expanded(arguments, file):
        try:
            yield line.decode() if isinstance(line, bytes) else line
        except UnicodeDecodeError as error:
            raise ZooError(f"{place} is no text in UTF-8: {error.reason}.") from error


def _pictures(arguments: Sequence[str], file: Path | None) -> Iterator[str]:
    for _, line in _expanded(arguments, file):
        name = os.fsdecode(line)
        yield from _in_folder(Path(name)) if _is(name, Path.is_dir) else [name]


def _in_folder(folder: Path) -> list[str]:
    """Returns the pictures in a folder and the folders in it, by their suffixes, sorted."""
    from PIL import Image

    suffixes = Image.registered_extensions()
    found = [
        str(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise ZooError(f"{str(folder)!r} has no pictures in it, by the ends of their names.")
    return found


def _expanded(arguments: Sequence[str], file: Path | None) -> Iterator[tuple[str, str | bytes]]:
    """Yields each argument and line, and its place for messages."""
    for argument in arguments:
        if argument == STDIN:
            yield from _lines(sys.stdin.buffer, "standard input")
        else:
            yield repr(argument), argument
    if file is not None:
        with open(file, "rb") as stream:
            yield from _lines(stream, str(file))


def _lines(stream: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Yields the lines that are not blank, as they come."""
    blank = 0
    for number, line in enumerate(stream, 1):
        content = line.rstrip(b"\r\n")
        if content.strip():
            yield f"line {number} of {name}", content
        else:
            blank += 1
    if blank:
        typer.echo(f"zoo: {blank} blank line{'s' * (blank > 1)} of {name} left out", err=True)


def _some(found: Iterator[str], noun: str, file: Path | None) -> Iterator[str]:
    """Returns the inputs, of which there is one at least."""
    first = next(found, None)
    if first is None:
        raise ZooError(f"there are no {noun} {f'in {file}' if file else 'on standard input'}.")
    return chain([first], found)


def _is(text: str, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(Path(text))
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False
