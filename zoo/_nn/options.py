"""Checks of the keywords that families' `create` takes."""

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
