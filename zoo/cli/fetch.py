"""`zoo fetch`."""

from typing import Annotated

import typer

from zoo._errors import UnknownModelError
from zoo._loading import fetch as fetching
from zoo._loading import resolve
from zoo.cli import console


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Of `zoo list`, or such as 'resnet*'.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show what is in the cache.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out of the cache.")] = False,
) -> None:
    """Gets weights before they are needed; in a pipe prints name, bytes and file between tabs."""
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
    """The models that a pattern means; a plain name is one, whatever it is."""
    if not set(pattern) & set("*?["):
        return [pattern]
    known = [each.name for each in fetching.cached(pattern)] if cached else None
    found = resolve.list_models(pattern, pretrained=True) if known is None else known
    if not found:
        raise UnknownModelError(f"no weights match {pattern!r}; `zoo list` and `zoo fetch --list` show all.")
    return found
