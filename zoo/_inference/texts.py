"""Texts as callers give them."""

import os
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Literal, overload

from zoo._errors import ZooError
from zoo._preprocessing.text import Text
from zoo._registry.entry import Entry

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def known_count(texts: Any) -> int | None:
    """Returns the number of texts, if it is known before they are read."""
    if isinstance(texts, str):
        return 1
    return len(texts) if isinstance(texts, Sized) else None


@overload
def checked_texts(entry: Entry, texts: Any, *, pairs: Literal[False]) -> Iterator[str]: ...
@overload
def checked_texts(entry: Entry, texts: Any, *, pairs: Literal[True] = True) -> Iterator[Text]: ...
def checked_texts(entry: Entry, texts: Any, *, pairs: bool = True) -> Iterator[Text]:
    """Yields the texts, or pairs of them; one alone is the only one.

    Args:
        entry: Record of the model, for messages.
        texts: A text, or texts; a tuple of two in a list is a pair.
        pairs: If false, pairs are refused.

    Raises:
        ZooError: one is no text, or the name of a picture's file.
    """
    several = [texts] if isinstance(texts, str | os.PathLike) or not isinstance(texts, Iterable) else texts
    for index, text in enumerate(several):
        both = text if isinstance(text, tuple) and len(text) == 2 and pairs else (text,)
        if not all(isinstance(each, str) for each in both):
            expected = "a text, or a tuple of two" if pairs else "a text"
            raise ZooError(
                f"input {index} is {_described(text)}; {entry.name!r} takes texts, expected {expected}."
            )
        if both[0].lower().endswith(PICTURES) and Path(both[0]).is_file():
            raise ZooError(f"{both[0]!r} is a picture, and {entry.name!r} takes texts.")
        yield text


def _described(value: Any) -> str:
    shape, kind = getattr(value, "shape", None), type(value).__name__
    return f"an array of shape {shape}" if shape is not None else f"of type {kind}"
