"""The zoo's families: `family: cnn` of an entry means `zoo/cnn.py`."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from converters.matching import NamesAndRules
from zoo._errors import ManifestError
from zoo._registry.entry import Entry
from zoo._registry.family import Family

ANY = "any"  # the layout of a file of the Hub: one of its family's, which its names tell
NO_FAMILIES = ("cli", "metrics", "training")  # what else is public in zoo


@cache
def names() -> tuple[str, ...]:
    """Returns the names of all families, sorted."""
    found = (each.name for each in pkgutil.iter_modules(importlib.import_module("zoo").__path__))
    return tuple(sorted(name for name in found if not name.startswith("_") and name not in NO_FAMILIES))


def named(name: str | None) -> Family | None:
    """Returns the family of that name; None if the zoo has none."""
    return Family.of(importlib.import_module(f"zoo.{name}")) if name in names() else None


def family(entry: Entry) -> Family:
    """Returns the family of an entry.

    Raises:
        ManifestError: the zoo has none of that name.
    """
    found = named(entry.family)
    if entry.family is None:
        raise ManifestError(f"{entry.name!r} is a module of your own, of no family of the zoo.")
    if found is None:
        raise ManifestError(
            f"{entry.name!r} is of family {entry.family!r}, which this version of the zoo does not have."
        )
    return found


def having(field: str) -> str:
    """Returns the families with a value in a field of the contract, for messages: `'bert' and 'vit'`."""
    *found, last = (repr(name) for name in names() if getattr(named(name), field))
    return f"{', '.join(found)} and {last}" if found else last


def torch_names(entry: Entry) -> Mapping[str, NamesAndRules]:
    """Returns the names pairs and rules for the tensors of the family's PyTorch files, by layout.

    Raises:
        ManifestError: the entry's layout is none of them.
    """
    layouts = family(entry).torch_names
    if entry.layout not in (None, ANY, *layouts):
        known = ", ".join(layouts) or "none"
        raise ManifestError(
            f"{entry.name!r} has layout {entry.layout!r}; family {entry.family!r} knows {known}."
        )
    return layouts
