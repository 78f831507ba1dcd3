"""The verbs `zoo train` and `zoo eval`; what they do is in zoo.training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo._console import table
from zoo._errors import TrainingError
from zoo._loading import info

if TYPE_CHECKING:
    from zoo.training.run import Report

Data = Annotated[Path | None, typer.Option(help="Directory of the data set's files.  [default: download]")]


def train(
    name: Annotated[str, typer.Argument(help="A name that `zoo list` shows.")],
    out: Annotated[Path, typer.Option(help="The run's own directory; `zoo eval` and the others take it.")],
    data: Data = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Changes the recipe.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
) -> None:
    """Train a model by its recipe and measure it on the test set."""
    from zoo import training

    recipe = training.find_recipe(name)
    try:
        recipe = training.with_settings(recipe, setting or ())
    except TrainingError as error:
        raise typer.BadParameter(str(error)) from error
    with _progress(name, recipe.epochs) as report:
        training.train(name, out, recipe=recipe, data=data, resume=resume, report=report)
    try:
        training.draw_curves(out)
    except TrainingError as error:
        typer.echo(f"zoo: no curves.png: {error}", err=True)
    table(("metric", "value"), [*info(out).metrics.items()])


def evaluate(
    name: Annotated[str, typer.Argument(help="A name, or a directory that `zoo train` wrote.")],
    data: Data = None,
) -> None:
    """Measure a model on the whole test set."""
    from zoo import training

    table(("metric", "value"), [*training.evaluate_pretrained(name, data=data).items()])


@contextmanager
def _progress(name: str, epochs: int) -> "Iterator[Report]":
    """Shows a person how far it is; a pipe gets nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:  # not left to Progress, which writes an empty line even when disabled
        yield lambda epoch, measures: None
        return
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    losses = TextColumn("{task.fields[losses]}")
    with Progress(*columns, losses, console=console) as progress:
        task = progress.add_task(name, total=epochs, losses="")

        def report(epoch: int, measures: Mapping[str, float]) -> None:
            shown = "  ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
            progress.update(task, completed=epoch, losses=shown or "compiling")

        yield report
