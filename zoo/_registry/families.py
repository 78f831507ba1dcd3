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
NO_FAMILIES = ("cli", "training")  # what else is public in zoo


@cache
def names() -> tuple[str, ...]:
    """The names of all families, sorted."""
    found = (each.name for each in pkgutil.iter_modules(importlib.import_module("zoo").__path__))
    return tuple(sorted(name for name in found if not name.startswith("_") and name not in NO_FAMILIES))


def named(name: str | None) -> Family | None:
    """The family of that name; None if the zoo has none."""
    return Family.of(importlib.import_module(f"zoo.{name}")) if name in names() else None


def family(entry: Entry) -> Family:
    """The family of an entry.

    Raises:
        ManifestError: the zoo has none of that name.
    """
    found = named(entry.family)
    if found is None:
        raise ManifestError(
            f"{entry.name!r} is of family {entry.family!r}, which this version of the zoo does not have."
        )
    return found


def having(field: str) -> str:
    """The families that have something in a field of the contract, for messages: `'bert' and 'vit'`."""
    *found, last = (repr(name) for name in names() if getattr(named(name), field))
    return f"{', '.join(found)} and {last}" if found else last


def torch_names(entry: Entry) -> Mapping[str, NamesAndRules]:
    """The names pairs and rules by which PyTorch files keep the family's tensors, by layout.

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
