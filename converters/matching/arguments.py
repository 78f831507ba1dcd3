"""Checks of what users pass to say how names and tensors differ: pairs, rules and patterns."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from converters.errors import ConversionError


def check_names(names: Any) -> None:
    """Checks pairs of texts, and rules among them.

    Raises:
        ConversionError: it is something else.
    """
    if isinstance(names, Mapping):
        raise ConversionError("names= is a dict; expected pairs in their order, such as [*names.items()]")
    for item in _items("names", names):
        is_pair = isinstance(item, tuple) and len(item) == 2 and all(isinstance(each, str) for each in item)
        if not is_pair and not _is_rule(item):
            raise ConversionError(
                f"names= has {item!r}; expected pairs (regular expression, replacement), and rules such as "
                "converters.Transpose(...)"
            )


def check_rules(rules: Any) -> None:
    """Checks rules.

    Raises:
        ConversionError: something else is among them.
    """
    for item in _items("rules", rules):
        if not _is_rule(item):
            raise ConversionError(
                f"rules= has {item!r}; expected rules, such as converters.Transpose(...): pairs go in names="
            )


def as_patterns(keyword: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the regular expressions of an argument, which may be one alone.

    Raises:
        ConversionError: one of them is none.
    """
    patterns = (given,) if isinstance(given, str) else tuple(_items(keyword, given))
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ConversionError(f"{keyword}= has {pattern!r}, no regular expression: {error}") from error
    return patterns


def _items(keyword: str, given: Any) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConversionError(f"{keyword}= is {given!r}; expected a list")
    return given


def _is_rule(item: Any) -> bool:
    return not isinstance(item, type) and hasattr(item, "expand") and hasattr(item, "rewrite")
