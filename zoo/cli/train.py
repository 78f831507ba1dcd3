"""The verbs `zoo train`, `zoo finetune` and `zoo eval`, over zoo.training."""

import logging
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo._loading.resolve import info
from zoo._processes import is_primary, leave_at_exit
from zoo._progress import is_terminal
from zoo.cli.console import NAME_HELP, Json, Name, complete_name, table
from zoo.cli.settings import Setting, changes

if TYPE_CHECKING:
    from zoo.training.run import Report

Data = Annotated[Path | None, typer.Option(help="Directory of the data set's files.  [default: download]")]
# Task of a recipe -> the verb that uses what it trained, and what follows the run's directory.
USES = {
    "classification": ("predict", "PICTURE"),
    "text_classification": ("predict", "TEXT"),
    "vae": ("sample", "--out", "samples.png"),
    "next_token": ("generate", "PROMPT"),
}
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in OUT; a finished one with more epochs.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a run in OUT.")]
Mesh = Annotated[
    str | None,
    typer.Option(metavar="AXES", help="Mesh of all devices, such as data=4,model=2.  [default: one device]"),
]
Process = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="This process of several: 0/2@HOST:PORT is the first of two, HOST:PORT its address; or auto.",
    ),
]


def train(
    name: Name,
    out: Annotated[Path, typer.Option(help="Directory of the run, which other verbs take as NAME.")],
    data: Data = None,
    setting: Setting = None,
    mesh: Mesh = None,
    process: Process = None,
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train a model by its recipe and measure it on the test set."""
    with _stoppable():
        from zoo import training

        recipe = changes(training.find_recipe(name), setting)
        _join(process)
        training.train(
            name,
            out,
            recipe=recipe,
            data=data,
            mesh=mesh,
            resume=resume,
            overwrite=force,
            report=_report(out),
        )
    _finish(out, ("--data", str(data)) if data else (), json=json)


def finetune(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=f"Classifier of pictures, or encoder of texts. {NAME_HELP}",
            autocompletion=complete_name,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="Pictures in PATH/CLASS/, or a table of texts, .csv or .jsonl, with the columns text and "
            "label: a share of each class is held out. Or PATH/train/CLASS/ and PATH/val/CLASS/, or "
            "PATH/train.csv and PATH/val.csv.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory of the run, which other verbs take as NAME.")],
    num_classes: Annotated[
        int | None,
        typer.Option(min=2, help="Expected number of classes; other data are refused.  [default: any]"),
    ] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="Train only the head.")] = False,
    lora: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="RANK",
            help="Train the head and LoRA's matrices of this rank; OUT/adapter has them for PEFT.",
        ),
    ] = None,
    setting: Setting = None,
    mesh: Mesh = None,
    process: Process = None,
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train a pretrained model on your own classes."""
    with _stoppable():
        from zoo import training

        frozen = {"backbone_rate": 0.0} if freeze else {}
        adapted = {"lora_rank": lora} if lora else {}
        recipe = changes(training.finetuning_recipe(name), setting) | frozen | adapted
        _join(process)
        training.finetune(
            name,
            out,
            data=data,
            recipe=recipe,
            num_classes=num_classes,
            mesh=mesh,
            resume=resume,
            overwrite=force,
            report=_report(out),
        )
    _finish(out, ("--data", str(data)), json=json)


def evaluate(
    name: Name,
    data: Data = None,
    fid: Annotated[
        bool,
        typer.Option(
            "--fid", help="Also measure how far images that it draws are from those of the test set."
        ),
    ] = False,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Model by whose features --fid compares, such as cnn_mnist.  [default: inception_fid]",
            autocompletion=complete_name,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Measure a model on its whole test set, or a classifier on your own data.

    Your data are what `zoo finetune` takes, of the same classes. A finetuned model is measured on the part
    that it held out; another one on all of them, or on their val/ alone.
    """
    from zoo import training
    from zoo.metrics.distance import INCEPTION

    if features and not fid:
        raise typer.BadParameter("--features goes with --fid")
    drawn = training.evaluate_samples(name, features=features or INCEPTION, data=data) if fid else {}
    measured = training.evaluate_pretrained(name, data=data) | drawn
    table(("metric", "value"), [*measured.items()], json=json)


def _finish(out: Path, data: Sequence[str], *, json: bool) -> None:
    """Prints the metrics, where the model is, and the commands that take it."""
    from zoo.training.run_directory import CONFUSION, CURVES, recorded_recipe

    if not is_primary():
        return
    recipe = recorded_recipe(out)
    assert recipe is not None  # the run is done
    table(("metric", "value"), [*info(out).metrics.items()], json=json)
    pictures = [name for name in (CURVES, CONFUSION) if (out / name).exists()]
    drawn = f", with {' and '.join(pictures)}" if pictures else ""
    use, *options = USES[recipe.task]
    then = ([use, str(out), *options], ["eval", str(out), *data], ["publish", str(out), "OWNER/NAME"])
    lines = [
        f"zoo: the model is in {out}{drawn}; next:",
        *(f"  {shlex.join(['zoo', *each])}" for each in then),
    ]
    typer.echo("\n".join(lines), err=True)


def _join(process: str | None) -> None:
    from zoo.training import processes

    if process is None:
        return
    processes.join(process)
    if not is_primary():
        logging.getLogger("zoo").setLevel(logging.ERROR)


def _report(out: Path) -> "Report":
    """Returns what prints the metrics of each epoch, which a terminal's bar shows."""
    from zoo.training.run_directory import recorded_recipe

    recipe = None

    def report(epoch: int, measures: Mapping[str, float]) -> None:
        nonlocal recipe
        if measures and is_primary() and not is_terminal(sys.stderr):
            # Known once the run has begun: how many epochs there are depends on the data.
            recipe = recipe or recorded_recipe(out)
            of = f" of {recipe.epochs}" if recipe else ""
            shown = ", ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
            typer.echo(f"zoo: epoch {epoch}{of}: {shown}", err=True)

    return report


@contextmanager
def _stoppable() -> "Iterator[None]":
    """Says where a signal has stopped the run, and the command that goes on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        where = " ".join(getattr(stop, "__notes__", ())) or "stopped outside of the updates;"
        again = shlex.join(["zoo", *(each for each in sys.argv[1:] if each != "--resume"), "--resume"])
        if is_primary():
            typer.echo(f"zoo: {where.partition('; ')[0].rstrip(';')}; continue with: {again}", err=True)
        code = stop.code if isinstance(stop, SystemExit) else 128 + signal.SIGINT
        leave_at_exit(int(code or 0))
        raise
