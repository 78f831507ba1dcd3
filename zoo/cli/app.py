"""The `zoo` command: each verb is a few lines over one library function."""

import gc
import logging
import math
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import zoo
from zoo._loading import summary
from zoo._loading.load import load_located
from zoo._loading.resolve import counted, resolve
from zoo._preprocessing import images
from zoo._registry import families
from zoo.cli import console, convert, fetch, manifest, predict, publish, text, train
from zoo.cli.verbs import Verb, Verbs

app = typer.Typer(cls=Verbs, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A name that `zoo list` shows, a repository, or a model's directory."
    ),
]


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Pretrained Flax models, and conversion of PyTorch weights."""


@app.command("list", cls=Verb)
def list_(pattern: Annotated[str, typer.Argument(help="A pattern such as '*_mnist'.")] = "*") -> None:
    """List the models.

    In a pipe each line has name, family, parameters, bytes, metrics and weights, separated by tabs.
    """
    names = zoo.list_models(pattern)
    if not names:
        raise zoo.UnknownModelError(f"no model's name matches {pattern!r}; `zoo list` shows all.")
    columns = ("name", "family", "parameters", "bytes", "metrics", "weights")
    console.table(columns, [_row(zoo.info(name)) for name in names])


def _row(entry: zoo.Entry) -> tuple[str | int, ...]:
    size = (entry.weights.size if entry.weights else None) or "-"
    metrics = ", ".join(f"{name} {value:g}" for name, value in entry.metrics.items())
    return (
        entry.name,
        entry.family or "-",
        entry.num_params,
        size,
        metrics or "-",
        str(entry.weights or "-"),
    )


@app.command(cls=Verb)
def info(name: Name) -> None:
    """Show a model's record and its layers."""
    located = resolve(name)
    arrays = summary.arrays_of(located)
    console.table(("field", "value"), summary.fields(counted(located, arrays).entry))
    print()
    console.table(("layer", "arrays", "numbers"), summary.layers(arrays))


@app.command(cls=Verb)
def sample(
    name: Name,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The picture to write; its suffix chooses the format.")
    ],
    label: Annotated[list[int] | None, typer.Option(help="A class to draw.  [default: every class]")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of images of each class.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draw.")] = 0,
) -> None:
    """Draw new images, in one picture with a row for each class."""
    located = resolve(name)
    family = families.family(located.entry)
    if family.sample is None:
        raise zoo.ZooError(f"{name!r} does not draw images; try vae_mnist.")
    model = load_located(located, pretrained=True)
    classes = label or range(model.module.num_classes)
    drawn = family.sample(model, np.repeat(classes, count), seed=seed)
    columns = count if len(classes) > 1 else math.isqrt(count - 1) + 1
    images.write(images.grid(np.asarray(drawn), columns), out)


app.command(cls=Verb)(predict.predict)
app.command(cls=Verb)(text.generate)
app.command(cls=Verb)(text.embed)
app.command(cls=Verb)(convert.convert)
app.command(cls=Verb)(convert.export)
app.command(cls=Verb)(convert.verify)
app.command(cls=Verb)(train.train)
app.command(cls=Verb)(train.finetune)
app.command("eval", cls=Verb)(train.evaluate)
app.command(cls=Verb)(fetch.fetch)
app.command(cls=Verb)(publish.publish)
app.add_typer(manifest.app, name="manifest")


def main() -> None:
    """Runs the command line; the console script."""
    # What was imported stays to the end; to search it for garbage then would take a third of a second.
    gc.freeze()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("zoo: %(message)s"))
    logger = logging.getLogger("zoo")
    logger.addHandler(handler)
    logger.propagate = False
    warnings.showwarning = console.warn
    app(prog_name="zoo")
