"""The verb `zoo list`."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

from zoo._errors import UnknownModelError
from zoo._publishing.hub_terms import METRIC
from zoo._registry import manifest
from zoo._registry.entry import Entry, Weights
from zoo._registry.listing import list_models
from zoo.cli import console
from zoo.cli.console import Cell, Json, Shown


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
    names = list_models(pattern)
    if not names:
        raise UnknownModelError(f"no model's name matches {pattern!r}; `zoo list` shows all.")
    columns = ("name", "family", "parameters", "bytes", "metrics", "weights")
    models = manifest.read().models
    rows = [_row(models[name]) for name in names]
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
