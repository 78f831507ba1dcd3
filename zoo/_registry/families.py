"""From an entry to its module: `family: cnn` means `zoo/cnn.py` and its `create`."""

import importlib
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from zoo._errors import ManifestError
from zoo._registry.entry import Entry

ANY = "any"  # the layout of a file of the Hub: one of its family's, which its names tell


def module(family: str) -> ModuleType:
    """The file of the zoo of that name."""
    return importlib.import_module(f"zoo.{family}")


def family(entry: Entry) -> ModuleType:
    """The file of the zoo that has the entry's architecture.

    Raises:
        ManifestError: there is none.
    """
    if entry.family and importlib.util.find_spec(f"zoo.{entry.family}"):
        found = module(entry.family)
        if hasattr(found, "create"):
            return found
    raise ManifestError(
        f"{entry.name!r} is of family {entry.family!r}, which this version of the zoo does not have."
    )


def torch_names(entry: Entry) -> Mapping[str, Any]:
    """The names pairs and rules by which PyTorch files keep the family's models, by layout."""
    conventions: Mapping[str, Any] = getattr(family(entry), "TORCH_NAMES", {})
    if entry.layout not in (None, ANY, *conventions):
        known = ", ".join(conventions) or "none"
        raise ManifestError(
            f"{entry.name!r} has layout {entry.layout!r}; family {entry.family!r} knows {known}."
        )
    return conventions
