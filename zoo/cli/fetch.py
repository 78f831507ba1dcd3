"""`zoo fetch`."""

from typing import Annotated

import typer

from zoo._errors import UnknownModelError
from zoo._loading import fetch as fetching
from zoo._loading import resolve
from zoo.cli import console


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Names that `zoo list` shows, or patterns such as 'resnet*'."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the weights in the cache.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the weights from the cache.")] = False,
) -> None:
    """Download weights before they are needed.

    In a pipe each line has name, bytes and file, separated by tabs.
    """
    if list_ and remove:
        raise typer.BadParameter("--list and --remove exclude each other.")
    if not names and not list_:
        raise typer.BadParameter("NAME is missing.")
    refused = None
    if list_:
        found = [each for pattern in names or ["*"] for each in fetching.cached(pattern)]
    else:
        verb = fetching.remove if remove else fetching.fetch
        chosen = [name for pattern in names or [] for name in _names(pattern, cached=remove)]
        found, refused = fetching.of_each(verb, chosen)
    console.table(fetching.Cached._fields, found)
    if refused:
        raise refused


def _names(pattern: str, *, cached: bool) -> list[str]:
    """Returns the names that match a pattern; a plain name is returned as it is."""
    if not set(pattern) & set("*?["):
        return [pattern]
    known = [each.name for each in fetching.cached(pattern)] if cached else None
    found = resolve.list_models(pattern, pretrained=True) if known is None else known
    if not found:
        raise UnknownModelError(f"no weights match {pattern!r}; `zoo list` and `zoo fetch --list` show all.")
    return found
