"""Verbs of the command line as typer runs them: their help, their errors and exit codes."""

import importlib
import signal
import sys
from collections import UserDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from converters.errors import ConverterError
from zoo._errors import ZooError
from zoo.cli.flags import in_flags
from zoo.cli.refusals import drop_stdout, refusal

DEBUG = "--debug"
# What help calls the values of options, unless their declaration says it.
METAVARS = {
    **dict.fromkeys(("batch_size", "count", "num_classes", "seed", "tokens", "top", "top_k", "workers"), "N"),
    **dict.fromkeys(("data", "out"), "DIR"),
    **dict.fromkeys(("key", "layout", "method", "pooling", "prompt"), "NAME"),
}


class Verb(TyperCommand):
    """A verb whose refusals speak of its flags, and whose help names arguments as its usage does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for param in self.params:
            name = param.name.strip("_")
            default = name.upper() if param.param_type_name == "argument" else METAVARS.get(name, "VALUE")
            param.metavar = param.metavar or default

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ZooError, ConverterError) as error:
            error.args = (in_flags(str(error), self.params), *error.args[1:])
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = (each for each in self.params if each.param_type_name == "argument")
        return ["[OPTIONS]", *(_shown(each) if each.required else f"[{_shown(each)}]" for each in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                argument = param.param_type_name == "argument"
                # Usage shows which arguments are required.
                row = (_shown(param), record[1].removesuffix("  [required]")) if argument else record
                sections[param.param_type_name].append(row)
        for kind, rows in sections.items():
            if rows:
                with formatter.section(f"{kind.title()}s"):
                    formatter.write_dl(rows)


def _shown(argument: Any) -> str:
    """Returns an argument's name in usage and help: NAME, or NAME... for several."""
    name: str = argument.metavar
    return name if argument.nargs == 1 else f"{name.rstrip('.')}..."


class Lazy(NamedTuple):
    """A verb, or a group of verbs, that is imported when it runs or shows its own help.

    Attributes:
        module: Its module in this room.
        attribute: The function there, or the typer application.
        help: A line for the list of verbs: the first of its docstring.
        kind: Class of its command.
    """

    module: str
    attribute: str
    help: str
    kind: type[Verb] = Verb

    def command(self, name: str) -> Any:
        """Imports the verb, by the name that users type."""
        found = getattr(importlib.import_module(f"zoo.cli.{self.module}"), self.attribute)
        if not isinstance(found, typer.Typer):
            verb, found = found, typer.Typer(rich_markup_mode=None, add_completion=False)
            found.command(name, cls=self.kind)(verb)
        made = typer.main.get_command(found)
        made.name = name
        return made


class Commands(UserDict[str, Any]):
    """Commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, Lazy):
            found = self[name] = found.command(name)
        return found


class Group(TyperGroup):
    """Verbs whose help has whole lines."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.lines())

    def lines(self) -> list[tuple[str, str]]:
        """Returns the verbs, each with a line of help."""
        return [(name, each.get_short_help_str(1000)) for name, each in self.commands.items()]


class Verbs(Group):
    """Ends refused verbs with one message and exit code 1, interrupted ones as a shell expects.

    Misuse, exit code 2, is typer's.
    """

    verbs: Mapping[str, Lazy]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands(self.verbs)

    def lines(self) -> list[tuple[str, str]]:
        return [(name, each.help) for name, each in self.verbs.items()]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:  # as `zoo help list`
            args = [*args[1:], "--help"]
        with _ending(debug=DEBUG in args):  # help and version are printed here
            # The root's option is what one adds at the end of a line that failed.
            return super().parse_args(ctx, sorted(args, key=lambda each: each != DEBUG))

    def invoke(self, ctx: Any) -> Any:
        from converters.io import exceptions_from  # with NumPy, for which help need not wait

        # Ctrl-C is ignored in a shell's jobs in the background, and stays that.
        ours = [each for each in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(each) != signal.SIG_IGN]
        with _ending(debug=ctx.params["debug"]), exceptions_from(ours):
            result = super().invoke(ctx)
            # Here, and not when the interpreter ends and can only complain.
            print(end="", flush=True)
            return result


@contextmanager
def _ending(*, debug: bool) -> Iterator[None]:
    """Ends the process where the block raises what is no flaw of the zoo; with `debug`, raises refusals."""
    try:
        yield
    except BrokenPipeError:
        drop_stdout()
        raise SystemExit(128 + getattr(signal, "SIGPIPE", 13)) from None
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        said = refusal(error)
        if said is None or debug:
            raise
        print(f"zoo: {said}", file=sys.stderr)
        raise SystemExit(1) from None
