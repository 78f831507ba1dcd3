"""The `zoo` command: each verb is a few lines over one library function."""

import gc
import io
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import Annotated

import typer

from zoo import _package
from zoo._inference import compilation_cache
from zoo.cli import console
from zoo.cli.settings import TrainingVerb
from zoo.cli.verbs import Lazy, Verbs

# In the order of `zoo --help`, which imports none of them: JAX takes a second.
VERBS = {
    "list": Lazy("listing", "list_", "List the models."),
    "info": Lazy("models", "info", "Show what a model is for, where its weights are from, and its layers."),
    "sample": Lazy("models", "sample", "Draw new images, in one picture with a row for each class."),
    "predict": Lazy("predict", "predict", "Classify images or texts, and print the likeliest classes."),
    "classify": Lazy("classify", "classify", "Find which of your labels fit pictures."),
    "entities": Lazy("spans", "entities", "Find named entities in texts, or other spans with labels."),
    "answer": Lazy("spans", "answer", "Find the answers to questions in a text."),
    "generate": Lazy("generate", "generate", "Continue texts, and print them token by token."),
    "embed": Lazy("text", "embed", "Compute a vector for each text or picture."),
    "transcribe": Lazy("speech", "transcribe", "Write down speech of WAV files."),
    "convert": Lazy(
        "convert", "convert", "Convert a checkpoint of PyTorch, Orbax or NumPy to Flax weights, exactly."
    ),
    "port": Lazy("port", "port", "Write a torch module as Flax source, with its weights, proven equal."),
    "export": Lazy(
        "convert", "export", "Write a model's weights as a PyTorch state dict, or the model as a program."
    ),
    "verify": Lazy("convert", "verify", "Check a model's hash, parameters and outputs."),
    "train": Lazy(
        "train", "train", "Train a model by its recipe and measure it on the test set.", TrainingVerb
    ),
    "finetune": Lazy("train", "finetune", "Train a pretrained model on your own classes.", TrainingVerb),
    "eval": Lazy(
        "train", "evaluate", "Measure a model on its whole test set, or a classifier on your own data."
    ),
    "fetch": Lazy("fetch", "fetch", "Download weights before they are needed."),
    "publish": Lazy("publish", "publish", "Publish a model on the Hugging Face Hub."),
    "manifest": Lazy("manifest", "app", "Edit and check the manifest, which lists the models."),
}


class Root(Verbs):
    """The verbs of `zoo`."""

    verbs = VERBS


STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes of commands that a signal has ended

app = typer.Typer(
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"zoo {_package.VERSION}", flush=True)
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


def main() -> None:
    """Runs the command line; the console script."""
    # What was imported stays to the end; to search it for garbage then would take a third of a second.
    gc.freeze()
    compilation_cache.set_environment()
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
