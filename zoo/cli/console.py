"""Shared parts of the command line: tables, errors and exit codes."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from converters.errors import ConverterError
from converters.io import exceptions_from
from zoo._errors import ZooError
from zoo._progress import is_terminal
from zoo.cli.modules import described, place_in_own_file

Dtype = Annotated[
    str | None,
    typer.Option(metavar="DTYPE", help="Dtype to compute in, such as float32.  [default: the weights']"),
]


class Verbs(TyperGroup):
    """Ends refused verbs with one message and exit code 1, interrupted ones as a shell expects.

    Misuse, exit code 2, is typer's.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # The root's option is what one adds at the end of a line that failed.
        return super().parse_args(ctx, sorted(args, key=lambda each: each != "--debug"))

    def invoke(self, ctx: Any) -> Any:
        # Ctrl-C is ignored in a shell's jobs in the background, and stays that.
        ours = [each for each in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(each) != signal.SIG_IGN]
        try:
            with exceptions_from(ours):
                result = super().invoke(ctx)
                # Here, and not when the interpreter ends and can only complain.
                print(end="", flush=True)
                return result
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(128 + getattr(signal, "SIGPIPE", 13)) from None
        except KeyboardInterrupt:
            raise SystemExit(128 + signal.SIGINT) from None
        except (ZooError, ConverterError, OSError) as error:
            if ctx.params["debug"]:
                raise
            print(f"zoo: {error}{place_in_own_file(error)}", file=sys.stderr)
            raise SystemExit(1) from None
        except Exception as error:
            place = place_in_own_file(error)
            if ctx.params["debug"] or not place:
                raise
            print(f"zoo: {described(error)}{place}", file=sys.stderr)
            raise SystemExit(1) from None


def warn(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
    """Shows a warning as refusals are shown, without the line of code that it is about."""
    print(f"zoo: {message}", file=sys.stderr)


def table(columns: Sequence[str], rows: Sequence[Sequence[str | int | float]], *, err: bool = False) -> None:
    """Prints a table to a person, and tab-separated rows without a head to a program; `err` is where."""
    if not is_terminal(sys.stderr if err else sys.stdout):
        if isinstance(sys.stdout, io.TextIOWrapper) and not err:
            sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no text, as they are
        for row in rows:
            print(*row, sep="\t", file=sys.stderr if err else None)
        return
    # Slow to import, and needed on terminals only.
    import rich.box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*columns, box=rich.box.SIMPLE)
    for column, cell in zip(drawn.columns, rows[0] if rows else (), strict=False):
        column.justify = "left" if isinstance(cell, str) else "right"
    for row in rows:
        drawn.add_row(*(_shown(cell) for cell in row))
    Console(markup=False, highlight=False, stderr=err).print(drawn)


def _shown(cell: str | int | float) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return cell if isinstance(cell, str) else f"{cell:,}"
