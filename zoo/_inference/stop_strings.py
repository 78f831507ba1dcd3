"""Strings at which texts end: looked for in the decoded text, since tokens may hold only parts of them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True)
class StopStrings:
    """Strings that end texts.

    Attributes:
        tokenizer: Makes texts of tokens.
        strings: The strings; in what follows a prompt, the first of them that comes ends the text.
        stops: Ids of tokens that end a text, too.
        start: Number of columns of the prompts.
        padding: (batch,) number of columns before each prompt.
    """

    tokenizer: "Tokenizer"
    strings: Sequence[str]
    stops: Sequence[int]
    start: int
    padding: np.ndarray

    def ends(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(batch, length) ids -> each text's number of columns, and whether one of the strings ends it."""
        found = [
            self._end(row[before:].tolist(), before) for row, before in zip(tokens, self.padding, strict=True)
        ]
        return np.array([end for end, _ in found]), np.array([over for _, over in found])

    def _end(self, ids: list[int], before: int) -> tuple[int, bool]:
        begin = self.start - before
        stop = next((place for place in range(begin, len(ids)) if ids[place] in self.stops), len(ids))
        prompt = len(self.tokenizer.decode(ids[:begin]))

        def has_ended(length: int) -> int:
            return int(cut(self.tokenizer.decode(ids[:length])[prompt:], self.strings) is not None)

        if not has_ended(stop):
            return before + len(ids), False
        return before + bisect_left(range(stop), 1, lo=begin, key=has_ended), True


def cut(text: str, strings: Sequence[str]) -> int | None:
    """Returns where the first of the strings ends that comes in a text; None where none does."""
    ends = [text.index(each) + len(each) for each in strings if each in text]
    return min(ends, default=None)
