"""The verbs `zoo info` and `zoo sample`."""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from zoo._errors import ZooError
from zoo._loading import resolve
from zoo._loading.load import load_located
from zoo._loading.summary import arrays_of
from zoo._loading.summary import layers as layers_of
from zoo._preprocessing import images
from zoo._registry import families
from zoo.cli import console, summary
from zoo.cli.console import Json, Name

MOST_IMAGES = 10_000  # in one picture


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
