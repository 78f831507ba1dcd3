"""Checks of plain values: each takes a value and its path, notes every problem, and returns the value.

What it returns means nothing once a problem was noted.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any, str, list[str]], Any]


def text(pattern: str, expected: str) -> Check:
    """Checks text: the regular expression must match all of it."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, str):
            advice = "; quote it" if isinstance(value, int | float) else ""
            problems.append(f"{path}: expected {expected}, found {_short(value)}{advice}")
        elif not compiled.fullmatch(value):
            problems.append(f"{path}: expected {expected}, found {_short(value)}")
        return value

    return check


TEXT = text(r"[^\n]*\S[^\n]*", "a line of text")
IDENTIFIER = text(r"[a-z][a-z0-9_]*", "a lower-case identifier")
DTYPE = text(r"bfloat16|float(16|32|64)|u?int(8|16|32|64)|bool", "a dtype such as float32")


def integer(minimum: int) -> Check:
    """Checks a whole number, which is at least `minimum`."""

    def check(value: Any, path: str, problems: list[str]) -> Any:
        if type(value) is not int or value < minimum:
            problems.append(f"{path}: expected a whole number >= {minimum}, found {_short(value)}")
        return value

    return check


def number(value: Any, path: str, problems: list[str]) -> Any:
    """Checks a finite number; returns it as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        problems.append(f"{path}: expected a number, found {_short(value)}")
        return value
    return float(value)


def anything(value: Any, path: str, problems: list[str]) -> Any:
    """Accepts any value."""
    return value


def or_null(check: Check) -> Check:
    """Checks a value that may be null, too."""
    return lambda value, path, problems: None if value is None else check(value, path, problems)


def sequence(item: Check) -> Check:
    """Checks a list by `item`; the check returns a tuple."""

    def check(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, list):
            problems.append(f"{path}: expected a list, found {_short(value)}")
            return value
        return tuple(item(element, f"{path}[{index}]", problems) for index, element in enumerate(value))

    return check


def mapping(key: Check, item: Check, build: Callable[[dict[str, Any]], Any]) -> Check:
    """Checks a mapping of any keys; `build` makes the result."""

    def check(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, dict):
            problems.append(f"{path}: expected a mapping, found {_short(value)}")
            return value
        return build(
            {
                key(name, f"{path}: the key {name!r}", problems): item(element, join(path, name), problems)
                for name, element in value.items()
            }
        )

    return check


WRONG = object()  # the value of a field of which a problem was noted elsewhere


class WrongFieldError(Exception):
    """A rule asks for a field that has a problem of its own."""


class Fields:
    """A record's fields, for rules; None where one is absent."""

    def __init__(self, values: Mapping[str, Any], wrong: Collection[str]) -> None:
        self._values, self._wrong = values, {*wrong}

    def __getitem__(self, name: str) -> Any:
        if name in self._wrong:
            raise WrongFieldError(name)
        return self._values.get(name)

    def replaced(self, others: Mapping[str, Any]) -> "Fields":
        """Returns a copy with other values of some fields."""
        return Fields({**self._values, **others}, self._wrong - others.keys())


# Yields pairs of a field, or "" for several, and a problem; it is left where it asks for a wrong field.
Rule: TypeAlias = Callable[[Fields], Iterable[tuple[str, str]]]


def record(
    build: Callable[..., Any],
    fields: Mapping[str, Check],
    *,
    required: Collection[str],
    rules: Collection[Rule] = (),
    defaults: Mapping[str, Any] | None = None,
) -> Check:
    """Checks a mapping of known fields.

    Args:
        build: Called with the fields by keyword, if all are right.
        fields: The check of each field.
        required: The fields that must be there, unless they have a default.
        rules: Find what is wrong with fields that are right one by one.
        defaults: Checked values of fields that are absent.
    """

    def check(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, dict):
            problems.append(f"{path or 'the file'}: expected a mapping, found {_short(value)}")
            return value
        before = len(problems)
        for name in value.keys() - fields.keys():
            problems.append(f"{join(path, name)}: unknown field{_nearest(name, fields)}")
        known = {name: default for name, default in (defaults or {}).items() if name not in value}
        wrong = {name for name in required if name not in value and name not in known}
        problems.extend(f"{join(path, name)}: missing" for name in fields if name in wrong)
        wrong |= {name for name, default in known.items() if default is WRONG}
        for name in (name for name in value if name in fields):
            found = len(problems)
            known[name] = fields[name](value[name], join(path, name), problems)
            if len(problems) > found:
                wrong.add(name)
        for rule in rules:
            with suppress(WrongFieldError):
                problems.extend(f"{join(path, name)}: {text}" for name, text in rule(Fields(known, wrong)))
        return value if len(problems) > before else build(**known)

    return check


def join(path: str, name: str) -> str:
    """Returns the path of a field."""
    return f"{path}.{name}" if path and name else path or name


def suggest(name: str, names: Iterable[str]) -> str:
    """Returns `; did you mean 'a' or 'b'?`, or empty text if no name is similar."""
    near = difflib.get_close_matches(name.lower(), names)
    return f"; did you mean {' or '.join(repr(other) for other in near)}?" if near else ""


def _nearest(name: str, fields: Iterable[str]) -> str:
    return suggest(name, fields) or f"; the fields are {', '.join(fields)}"


def _short(value: Any) -> str:
    """Returns the value for a message: mappings and lists by their kind, the rest cut at 80 characters."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    shown = "nothing" if value is None else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
