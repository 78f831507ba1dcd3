"""Applies names pairs: regular expressions and replacements, from Flax's dotted names to PyTorch's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

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
        self._steps = [
            _Step(at=at, beginning=beginning(pattern), pattern=_compiled(pattern, new), replacement=new)
            for at, (pattern, new) in enumerate(pairs)
        ]
        # Pairs for names with one first part, and those that may be for several.
        self._own: dict[str, list[_Step]] = {}
        self._common = [step for step in self._steps if "." not in step.beginning]
        for step in self._steps:
            if "." in step.beginning:
                self._own.setdefault(step.beginning.partition(".")[0], []).append(step)
        self._by_head: dict[str, list[_Step]] = {}

    def __call__(self, name: str) -> str:
        """Returns the name after all pairs, applied in order."""
        return self._renamed(name)[0]

    def pairs_of(self, name: str) -> set[int]:
        """Returns the indices of the pairs that change the name."""
        return set(self._renamed(name)[1])

    def _renamed(self, name: str) -> tuple[str, list[int]]:
        """Returns the new name, and the indices of the pairs that changed it."""
        used: list[int] = []
        while True:
            for step in self._possible(name):
                if step.at > (used[-1] if used else -1) and name.startswith(step.beginning):
                    new = step.pattern.sub(step.replacement, name)
                    if new != name:
                        name = new
                        used.append(step.at)
                        break  # other pairs are possible for the new name
            else:
                return name, used

    def _possible(self, name: str) -> list["_Step"]:
        """Returns the pairs that may change names with the same first part."""
        head = name.partition(".")[0]
        if head not in self._by_head:
            common = [step for step in self._common if f"{head}.".startswith(step.beginning)]
            self._by_head[head] = sorted([*self._own.get(head, ()), *common], key=lambda step: step.at)
        return self._by_head[head]


@dataclass(frozen=True, kw_only=True)
class _Step:
    at: int
    beginning: str
    pattern: re.Pattern[str]
    replacement: str


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


def beginning(pattern: str) -> str:
    """Returns text with which every name that matches begins; "" where that is not plain to see."""
    found = LITERAL.match(pattern)
    return found[1].replace("\\", "") if found and "|" not in pattern else ""
