"""Reads a module path as the name that PyTorch has for it: attributes, indices of lists, lifted axes."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from converters.inspection import Lift, Path

Reading = tuple[str, ...]  # what stands for each name of a module path; "" where nothing does
NUMBERED = re.compile(r"(.*?)[._]?(\d+)")


def readings(path: Path, origins: Sequence[str | None]) -> Iterator[tuple[int, Reading]]:
    """The ways to write a module path, each with its rank: a lower one is preferred.

    A name of known origin is its attribute; where that does not exist, another style of numbering
    may. Names of unknown origin have no preferred style.
    """
    options: list[list[tuple[int, str]]] = []
    for name, origin in zip(path, origins, strict=True):
        written = [name if origin is None else origin]
        number = NUMBERED.fullmatch(written[0])
        if number and origin != name and number[1]:
            styles = (f"{number[1]}.{number[2]}", f"{number[1]}_{number[2]}", f"{number[1]}{number[2]}")
            written += [style for style in styles if style not in written]
        options.append(
            [(int(origin is not None and index > 0), style) for index, style in enumerate(written)]
        )
    for combination in itertools.product(*options):
        yield sum(rank for rank, _ in combination), tuple(style for _, style in combination)


def tensor_name(
    reading: Reading, lifts: Sequence[Lift], indices: Sequence[int], leaf: str, rename: Callable[[str], str]
) -> str:
    """Returns the PyTorch name of a leaf, with the indices of lifted axes in their places."""
    parts = list(reading)
    for lift, index in zip(reversed(lifts), reversed(indices), strict=True):
        parts.insert(lift.depth, str(index))
    return rename(".".join(part for part in (*parts, leaf) if part))
