"""Verbs of the command line as typer runs them: their help, their errors and exit codes."""

import os
import signal
import sys
from typing import Any

from typer.core import TyperCommand, TyperGroup

from converters.errors import ConverterError
from converters.io import exceptions_from
from zoo._errors import ZooError
from zoo.cli.backend import trouble
from zoo.cli.flags import in_flags
from zoo.cli.modules import described, place_in_own_file


class Verb(TyperCommand):
    """A verb whose refusals speak of its flags."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ZooError, ConverterError) as error:
            error.args = (in_flags(str(error), self.params), *error.args[1:])
            raise


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
            said = trouble(error) or own_trouble(error)
            if ctx.params["debug"] or not said:
                raise
            print(f"zoo: {said}", file=sys.stderr)
            raise SystemExit(1) from None


def own_trouble(error: Exception) -> str:
    """Returns what a file of the user's raised, and where; empty where no such file took part."""
    place = place_in_own_file(error)
    return f"{described(error)}{place}" if place else ""
