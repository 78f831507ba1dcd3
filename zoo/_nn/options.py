"""Checks of keywords, such as those that families' `create` takes."""

from collections.abc import Collection
from typing import Any

from zoo._errors import ZooError


def check_choices(**options: tuple[Any, Collection[Any]]) -> None:
    """Checks that options are among their choices.

    Args:
        options: Keyword -> its value, and the values that there are.

    Raises:
        ZooError: one is not.
    """
    for name, (value, choices) in options.items():
        if value not in list(choices):  # a list as a value would have no hash
            raise ZooError(f"no {name} {value!r}; choose one of {', '.join(map(str, choices))}.")


def check_options(*checks: tuple[str, Any, Any, str]) -> None:
    """Checks options by conditions, one after the other.

    Args:
        checks: Keyword, its value, true if that is right, and what was expected.

    Raises:
        ZooError: one is wrong.
    """
    for name, value, right, expected in checks:
        if not right:
            raise ZooError(f"{name}={value!r}; expected {expected}.")
