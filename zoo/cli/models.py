"""The verbs `zoo list`, `zoo info` and `zoo sample`."""

import math
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
import typer

from zoo._errors import UnknownModelError, ZooError
from zoo._loading import resolve
from zoo._loading.load import load_located
from zoo._loading.summary import arrays_of
from zoo._loading.summary import layers as layers_of
from zoo._preprocessing import images
from zoo._publishing.hub_terms import METRIC
from zoo._registry import families
from zoo._registry.entry import Entry, Weights
from zoo.cli import console, summary
from zoo.cli.console import Cell, Json, Name, Shown

MOST_IMAGES = 10_000  # in one picture


def list_(
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="PATTERN",
            help="Part of a name, or a pattern such as '*_mnist'.",
            autocompletion=console.complete_name,
        ),
    ] = "*",
    json: Json = False,
) -> None:
    """List the models.

    In a pipe each line has name, family, parameters, bytes, metrics and weights, separated by tabs. A '-' is
    unknown: the size of weights, or metrics that nobody has published.
    """
    names = resolve.list_models(pattern)
    if not names:
        raise UnknownModelError(f"no model's name matches {pattern!r}; `zoo list` shows all.")
    columns = ("name", "family", "parameters", "bytes", "metrics", "weights")
    rows = [_row(resolve.info(name)) for name in names]
    console.table(columns, rows, json=json, spare=("weights", "family"))


def _row(entry: Entry) -> tuple[Cell, ...]:
    weights, metrics = entry.weights, dict(entry.metrics)
    size = console.size(weights.size) if weights else Shown(None, "none")
    place = Shown(str(weights), _place(weights)) if weights else None
    return (
        entry.name,
        entry.family,
        console.count(entry.num_params),
        size,
        Shown(metrics, _first(metrics)),
        place,
    )


def _place(weights: Weights) -> str:
    """Returns where weights are from, in a word or two."""
    owner = f"Hub: {weights.repo.partition('/')[0]}" if weights.repo else "bundled"
    return urlsplit(weights.url).netloc if weights.url else owner


def _first(metrics: dict[str, float]) -> str:
    """Returns the first metric for people, without data set and split, which `zoo info` shows."""
    for name, value in metrics.items():
        known = METRIC.fullmatch(name)
        return f"{known[3] if known else name} {value:.3f}"
    return console.NOTHING


def info(
    name: Name,
    layers: Annotated[bool, typer.Option("--layers", help="Show the layers, too.")] = False,
    json: Json = False,
) -> None:
    """Show what a model is for, where its weights are from, and its layers."""
    located = resolve.resolve(name)
    arrays = arrays_of(located) if layers else None
    fields = summary.fields(resolve.counted(located, arrays))
    found = layers_of(arrays or {})
    if json and layers:
        fields["layers"] = [each._asdict() for each in found]
    console.record(fields, json=json)
    if layers and not json:
        print()
        rows = summary.merged(found) if console.for_people() else found
        console.table(("layer", "arrays", "numbers"), rows)


def sample(
    name: Name,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="Picture to write; its suffix chooses the format."),
    ],
    label: Annotated[
        list[int] | None, typer.Option(metavar="CLASS", help="A class to draw.  [default: every class]")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Number of images of each class.")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the random draw.")] = 0,
) -> None:
    """Draw new images, in one picture with a row for each class."""
    located = resolve.resolve(name)
    draw = families.family(located.entry).sample if located.entry.family else None
    if draw is None:
        raise ZooError(f"{name!r} does not draw images; try vae_mnist.")
    model = load_located(located, pretrained=True)
    classes = label or range(model.module.num_classes)
    if len(classes) * count > MOST_IMAGES:
        raise ZooError(
            f"{len(classes)} classes with {count:,} images each are {len(classes) * count:,}; "
            f"one picture holds at most {MOST_IMAGES:,}."
        )
    drawn = draw(model, np.repeat(classes, count), seed=seed)
    columns = count if len(classes) > 1 else math.isqrt(count - 1) + 1
    images.write(images.grid(np.asarray(drawn), columns), out)
