"""Applies names pairs: regular expressions and replacements, from Flax's dotted names to PyTorch's."""

import re
from collections.abc import Sequence

from converters.errors import ConversionError

LITERAL = re.compile(r"\^((?:[\w\-/]|\\[.\-])*)(?![*?{])")  # what a name that matches begins with


class Renaming:
    """Names pairs, compiled once.

    A draft for a large model has hundreds of pairs, and every name passes through all of them: one whose
    beginning is not the pattern's is passed by without a search.

    Raises:
        ConversionError: a pattern is no regular expression, or a replacement asks for a group that its
            pattern lacks.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._steps = [(_beginning(pattern), _compiled(pattern, new), new) for pattern, new in pairs]

    def __call__(self, name: str) -> str:
        """Returns the name after all pairs, applied in order."""
        for beginning, pattern, replacement in self._steps:
            if name.startswith(beginning):
                name = pattern.sub(replacement, name)
        return name

    def pairs_of(self, name: str) -> set[int]:
        """Returns the indices of the pairs that change the name."""
        found = set()
        for index, (_, pattern, replacement) in enumerate(self._steps):
            new = pattern.sub(replacement, name)
            if new != name:
                found.add(index)
            name = new
        return found


def _compiled(pattern: str, replacement: str) -> re.Pattern[str]:
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ConversionError(f"names: {pattern!r} is no regular expression: {error}") from error
    try:
        found.sub(replacement, "")
    except (re.error, IndexError) as error:
        raise ConversionError(f"names: {replacement!r}, for {pattern!r}: {error}") from error
    return found


def _beginning(pattern: str) -> str:
    """Returns text with which every name that matches begins; "" where that is not plain to see."""
    found = LITERAL.match(pattern)
    return found[1].replace("\\", "") if found and "|" not in pattern else ""
