"""The verbs `zoo train`, `zoo finetune` and `zoo eval`, over zoo.training."""

import logging
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo._errors import TrainingError
from zoo._loading.resolve import info
from zoo._progress import is_terminal
from zoo.cli.console import Name, table

if TYPE_CHECKING:
    from zoo._registry.recipes import Recipe
    from zoo.training.labelled_data import Labelled
    from zoo.training.run import Report

Data = Annotated[Path | None, typer.Option(help="Directory of the data set's files.  [default: download]")]

Setting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe, as epochs=5."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in OUT.")]
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
) -> None:
    """Train a model by its recipe and measure it on the test set."""
    from zoo import training

    recipe = _changed(training.find_recipe(name), setting)
    _join(process)
    with _stoppable():
        training.train(
            name, out, recipe=recipe, data=data, mesh=mesh, resume=resume, report=_report(recipe.epochs)
        )
    _finish(out)


def finetune(
    name: Annotated[str, typer.Argument(help="A classifier of photos, or a text encoder.")],
    data: Annotated[
        Path,
        typer.Option(help="Folder with train/CLASS/ and val/CLASS/ of pictures, or train.csv and val.csv."),
    ],
    out: Annotated[Path, typer.Option(help="Directory of the run, which other verbs take as NAME.")],
    num_classes: Annotated[
        int | None,
        typer.Option(min=2, help="Expected number of classes; other data are refused.  [default: any]"),
    ] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="Train only the head.")] = False,
    setting: Setting = None,
    mesh: Mesh = None,
    process: Process = None,
    resume: Resume = False,
) -> None:
    """Train a pretrained model on your own classes."""
    from zoo import training

    recipe = _changed(training.finetuning_recipe(name), setting)
    recipe = replace(recipe, backbone_rate=0.0) if freeze else recipe
    _join(process)
    with _stoppable():
        training.finetune(
            name,
            out,
            data=data,
            recipe=recipe,
            num_classes=num_classes,
            mesh=mesh,
            resume=resume,
            report=_report(recipe.epochs),
            examined=_examined,
        )
    _finish(out)


def evaluate(
    name: Name,
    data: Data = None,
) -> None:
    """Measure a model on the whole test set."""
    from zoo import training

    table(("metric", "value"), [*training.evaluate_pretrained(name, data=data).items()])


def _changed(recipe: "Recipe", settings: list[str] | None) -> "Recipe":
    from zoo import training

    try:
        return training.with_settings(recipe, settings or ())
    except TrainingError as error:
        raise typer.BadParameter(str(error)) from error


def _finish(out: Path) -> None:
    """Prints the metrics."""
    from zoo._processes import is_primary

    if not is_primary():
        return
    table(("metric", "value"), [*info(out).metrics.items()])


def _join(process: str | None) -> None:
    from zoo._processes import is_primary
    from zoo.training import processes

    if process is None:
        return
    processes.join(process)
    if not is_primary():
        logging.getLogger("zoo").setLevel(logging.ERROR)


def _examined(found: "Labelled") -> None:
    """Prints the number of examples of each class."""
    from zoo._processes import is_primary

    if not is_primary():
        return
    rows = (f"  {name}: {training:,} and {held_back:,}" for name, training, held_back in found.balance())
    typer.echo("\n".join(("zoo: examples to train and to measure on:", *rows)), err=True)


def _report(epochs: int) -> "Report":
    """Returns what prints the metrics of each epoch, which a terminal's bar shows."""
    from zoo._processes import is_primary

    def report(epoch: int, measures: Mapping[str, float]) -> None:
        if measures and is_primary() and not is_terminal(sys.stderr):
            shown = ", ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
            typer.echo(f"zoo: epoch {epoch} of {epochs}: {shown}", err=True)

    return report


@contextmanager
def _stoppable() -> "Iterator[None]":
    """Says where a signal has stopped the run, and the command that goes on."""
    from zoo._processes import is_primary
    from zoo.training import processes

    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        where = " ".join(getattr(stop, "__notes__", ())) or "stopped before the first update;"
        again = shlex.join(["zoo", *(each for each in sys.argv[1:] if each != "--resume"), "--resume"])
        if is_primary():
            typer.echo(f"zoo: {where.partition('; ')[0].rstrip(';')}; continue with: {again}", err=True)
        code = stop.code if isinstance(stop, SystemExit) else 128 + signal.SIGINT
        processes.leave_at_exit(int(code or 0))
        raise
