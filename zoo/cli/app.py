"""The `zoo` command: each verb is a few lines over one library function."""

import gc
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

import zoo
from zoo.cli import classify, console, convert, fetch, manifest, models, port, predict, publish, text, train
from zoo.cli.settings import TrainingVerb
from zoo.cli.verbs import Verb, Verbs

# In the order of `zoo --help`; a verb whose name is a word of Python or of the library has it here.
VERBS: dict[str, Callable[..., None]] = {
    "list": models.list_,
    "info": models.info,
    "sample": models.sample,
    "predict": predict.predict,
    "classify": classify.classify,
    "generate": text.generate,
    "embed": text.embed,
    "convert": convert.convert,
    "port": port.port,
    "export": convert.export,
    "verify": convert.verify,
    "train": train.train,
    "finetune": train.finetune,
    "eval": train.evaluate,
    "fetch": fetch.fetch,
    "publish": publish.publish,
}

STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes of commands that a signal has ended

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"zoo {zoo.__version__}", flush=True)
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Pretrained Flax models, and conversion of PyTorch weights."""


for name, verb in VERBS.items():
    app.command(name, cls=TrainingVerb if name in ("train", "finetune") else Verb)(verb)
app.add_typer(manifest.app, name="manifest")


def main() -> None:
    """Runs the command line; the console script."""
    # What was imported stays to the end; to search it for garbage then would take a third of a second.
    gc.freeze()
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BytesIO())  # closed by who started it
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("zoo: %(message)s"))
    logger = logging.getLogger("zoo")
    logger.addHandler(handler)
    logger.propagate = False
    warnings.showwarning = console.warn
    try:
        app(prog_name="zoo")
    except SystemExit as end:
        if end.code in STOPPED:
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """Ends the process at once: XLA, which may still compile in another thread, crashes in a slow end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it
            stream.flush()
    os._exit(code)
