"""Parts that verbs of the command line share: options, tables and warnings.

A verb that prints a table takes `json: Json = False` and passes it on::

    console.table(("metric", "value"), rows, json=json)

Cells are whole: people get them rounded, programs as they are. `Shown(value, text)` is a cell whose form
for people is another one, such as "347 MB" for bytes; None is a cell without a value.
"""

import io
import json as codec
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import typer

from zoo._progress import is_terminal


def complete_name(incomplete: str) -> list[str]:
    """Lists what a NAME may be that begins as typed: models, and directories of models."""
    from zoo._loading.repositories import holds_model  # with JAX, for which `zoo list` need not wait
    from zoo._registry.listing import list_models

    parent = incomplete.rpartition("/")[0]
    found = [*list_models(f"{escape(incomplete)}*")]
    for path in sorted(Path(parent or ".").glob("*/")):
        directory = f"{parent}/{path.name}" if parent else path.name
        if directory.startswith(incomplete) and holds_model(path):
            found.append(directory)
    return found


NAME_HELP = "Name that `zoo list` shows, model's directory, or hf://owner/name."
Name = Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP, autocompletion=complete_name)]
Dtype = Annotated[
    str | None,
    typer.Option(metavar="DTYPE", help="Dtype to compute in, such as float32.  [default: the weights']"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, with whole numbers and names.")]

NOTHING = "-"


class Shown(NamedTuple):
    """A cell with a form of its own for people, and perhaps for a line of a pipe."""

    value: Any
    text: str
    line: str | None = None


# A text, a number, None, a Shown, or a mapping or sequence of such values.
Cell: TypeAlias = Any


def warn(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
    """Shows a warning as refusals are shown, without the line of code that it is about."""
    print(f"zoo: {message}", file=sys.stderr)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    json: bool = False,
    err: bool = False,
    spare: Sequence[str] = (),
) -> None:
    """Prints rows: to people a table, to programs each row as soon as it is there.

    Args:
        columns: Name of each column.
        rows: Sequences of a cell for each column.
        json: If true, prints a list of objects in JSON; otherwise a program gets a line for each row, cells
            separated by tabs, without a head.
        err: If true, prints to standard error.
        spare: Columns that people get only where the terminal has room for them, the most dispensable first.
    """
    stream = sys.stderr if err else sys.stdout
    if json:
        _print_json(columns, rows)
    elif is_terminal(stream):
        _draw(columns, [*rows], spare, err=err)
    else:
        if isinstance(stream, io.TextIOWrapper) and not err:
            stream.reconfigure(errors="surrogateescape")  # names of files that are no text, as they are
        for row in rows:
            print(*(_line(_whole(cell)) for cell in row), sep="\t", file=stream, flush=True)


def record(fields: Mapping[str, Cell], *, json: bool = False) -> None:
    """Prints the fields of one thing: a table of two columns, or one object in JSON."""
    if json:
        print(codec.dumps({name: _plain(cell) for name, cell in fields.items()}, indent=2))
    else:
        table(("field", "value"), [*fields.items()])


def for_people() -> bool:
    """Returns whether a person reads standard output."""
    return is_terminal(sys.stdout)


def count(number: int) -> Shown:
    """Returns a cell for a large number, such as that of parameters: 11.7 M to people."""
    return Shown(number, _scaled(number, ("", " K", " M", " B")))


def size(number: int | None) -> Shown:
    """Returns a cell for a number of bytes, which may be unknown: 347 MB to people."""
    return Shown(number, NOTHING if number is None else _scaled(number, (" B", " kB", " MB", " GB", " TB")))


def _scaled(number: float, units: Sequence[str]) -> str:
    """Returns three digits of a number, in the largest unit that is not above it."""
    step = 0
    while number >= 999.5 and step + 1 < len(units):
        number, step = number / 1000, step + 1
    digits = 0 if not step or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:,.{digits}f}{units[step]}"


def _print_json(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Prints an object a line."""
    before = "["
    for row in rows:
        print(before, codec.dumps(dict(zip(columns, map(_plain, row), strict=True))), sep="\n", end="")
        sys.stdout.flush()
        before = ","
    print("[]" if before == "[" else "\n]")


def _draw(columns: Sequence[str], rows: list[Sequence[Cell]], spare: Sequence[str], *, err: bool) -> None:
    # Slow to import, and needed on terminals only.
    from rich.console import Console

    if not rows:
        return
    console = Console(markup=False, highlight=False, emoji=False, stderr=err)
    for left_out in range(len(spare) + 1):
        kept = [index for index, column in enumerate(columns) if column not in spare[:left_out]]
        drawn = _drawn([columns[index] for index in kept], [[row[index] for index in kept] for row in rows])
        if console.measure(drawn, options=console.options.update(width=10_000)).maximum <= console.width:
            break
    console.print(drawn)


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Any:
    """Returns rich's table; what is too wide is wrapped, and nothing is cut."""
    import rich.box
    from rich.table import Table

    drawn = Table(
        box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style=""
    )
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(_is_number(row[index]) for row in rows)
        drawn.add_column(column, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    for row in rows:
        drawn.add_row(*(_printable(_shown(cell)) for cell in row))
    return drawn


def _is_number(cell: Cell) -> bool:
    value = cell.value if isinstance(cell, Shown) else cell
    return value is None or isinstance(value, Real)


def _shown(cell: Cell) -> str:
    """Returns a cell for people."""
    if isinstance(cell, Shown):
        return cell.text
    value = _plain(cell)
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 or not value else f"{value:.4g}"
    return f"{value:,}" if type(value) is int else _whole(value)


def _whole(cell: Cell) -> str:
    """Returns a cell for a line of a pipe."""
    if isinstance(cell, Shown) and cell.line is not None:
        return cell.line
    value = _plain(cell)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_whole(each)}" for name, each in value.items()) or NOTHING
    if isinstance(value, list):
        return ", ".join(map(_whole, value)) or NOTHING
    return NOTHING if value is None else str(value)


def _plain(cell: Cell) -> Any:
    """Returns a cell as JSON has it, where numbers are finite or null."""
    match cell:
        case Shown():
            return _plain(cell.value)
        case None | str() | bool() | int():
            return cell
        case Integral():  # NumPy's numbers are of Python's abstract classes
            return int(cell)
        case float():
            return float(cell) if math.isfinite(cell) else None
        case Real():  # float(x) of a float32 would show digits that it does not have
            return _plain(float(str(cell)))
        case Mapping():
            return {str(name): _plain(each) for name, each in cell.items()}
        case Sequence():
            return [_plain(each) for each in cell]
    return str(cell)


def _line(text: str) -> str:
    """Returns a text that is one cell of one line."""
    return text.translate({ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"})


def _printable(text: str) -> str:
    """Returns a text without what would move the cursor, or is no text, as names of files may have it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
