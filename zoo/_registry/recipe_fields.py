"""The fields of a recipe that users set: their types, their meaning, and values for them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import getdoc
from typing import Any, get_type_hints

from zoo._errors import TrainingError
from zoo._registry.recipes import RENAMED, Recipe, renamed
from zoo._registry.schema import suggest

# Type of a field -> what messages call its values, and what help does.
KINDS = {int: ("a whole number", "N"), float: ("a number", "X"), str: ("a word", "NAME")}


def settable() -> dict[str, Any]:
    """Returns the types of the fields that a user may set; task and data set stay."""
    return {name: kind for name, kind in get_type_hints(Recipe).items() if name not in ("task", "dataset")}


def described() -> list[tuple[str, str, str]]:
    """Lists each of these fields: its name, what its values are called, and its meaning."""
    # A line of the docstring is "name: Meaning"; lines that go on are further to the right.
    attributes = (getdoc(Recipe) or "").partition("Attributes:\n")[2]
    entries = re.sub(r"\n {5,}", " ", attributes).splitlines()
    meanings = dict(entry.strip().split(": ", 1) for entry in entries if ": " in entry)
    return [(name, KINDS[kind][1], meanings.get(name, "")) for name, kind in settable().items()]


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Returns the recipe with fields replaced, each written as `field=value`; task and data set stay.

    Raises:
        TrainingError: an unknown field, or a value that is none of its type.
    """
    return replace(recipe, **parsed(settings))


def with_fields(recipe: Recipe, given: Recipe | Mapping[str, Any] | None) -> Recipe:
    """Returns the recipe that is given, or the other one with the fields that are; task and data set stay.

    Raises:
        TrainingError: an unknown field, or a value that it cannot have.
    """
    if isinstance(given, Recipe):
        return given
    given, types = renamed(given or {}), settable()
    for field in given.keys() - types.keys():
        advice = suggest(field, types) or f"; choose from {', '.join(types)}."
        raise TrainingError(f"recipe= has no field {field!r}{advice}")
    return replace(recipe, **given)


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """Returns the fields of a recipe that are written as `field=value`.

    Raises:
        TrainingError: an unknown field, or a value that is none of its type.
    """
    types = settable()
    changes: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        field = RENAMED.get(field, field)
        if not equals and field in types:
            raise TrainingError(f"{setting!r} gives the field no value; write {setting}=VALUE.")
        if field not in types:
            advice = suggest(field, types) or f"; choose from {', '.join(types)}."
            raise TrainingError(f"{setting!r} sets no field of a recipe{advice}")
        try:
            changes[field] = types[field](value)
        except ValueError as error:
            raise TrainingError(
                f"{setting!r}: expected {KINDS[types[field]][0]}, found {value!r}."
            ) from error
    return changes
