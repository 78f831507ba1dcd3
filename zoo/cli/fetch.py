"""`zoo fetch`."""

from typing import Annotated

import typer

from zoo._errors import UnknownModelError
from zoo._loading import fetch as fetching
from zoo._loading.repositories import is_one
from zoo._registry.listing import list_models
from zoo.cli import console


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help="Names that `zoo list` shows, patterns as 'resnet*', or repositories.",
            autocompletion=console.complete_name,
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the weights in the cache.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the weights from the cache.")] = False,
    json: console.Json = False,
) -> None:
    """Download weights before they are needed.

    In a pipe each line has name, bytes and file, separated by tabs. A download that was interrupted goes on
    where it stopped.
    """
    if list_ and remove:
        raise typer.BadParameter("--list and --remove exclude each other.")
    if not names and not list_:
        raise typer.BadParameter("NAME is missing.")
    refused = None
    if list_:
        found = [each for pattern in names or ["*"] for each in fetching.cached(pattern)]
        if not found:
            of = f" that match {' or '.join(map(repr, names))}" if names else ""
            typer.echo(f"zoo: the cache holds no weights{of}; `zoo fetch NAME` downloads them.", err=True)
    else:
        verb = fetching.remove if remove else fetching.fetch
        chosen = [name for pattern in names or [] for name in _names(pattern, cached=remove)]
        found, refused = fetching.of_each(verb, chosen)
    rows = [(each.name, console.size(each.size), each.path) for each in found]
    console.table(("name", "bytes", "file"), rows, json=json)
    if refused:
        raise refused


def _names(pattern: str, *, cached: bool) -> list[str]:
    """Returns the names that match a pattern; a plain name is returned as it is."""
    if not set(pattern) & set("*?["):
        return [pattern]
    if cached:
        # '*' means the models of `zoo list`: what other programs have fetched goes where it is named.
        known = [each.name for each in fetching.cached(pattern)]
        found = [name for name in known if not is_one(name) or is_one(pattern)]
    else:
        found = list_models(pattern, pretrained=True)
    if not found:
        raise UnknownModelError(f"no weights match {pattern!r}; `zoo list` and `zoo fetch --list` show all.")
    return found
