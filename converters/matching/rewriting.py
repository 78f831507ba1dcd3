"""Rewrites links from the names that a module sees to those of a checkpoint, by patterns with stars."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converters.errors import ConversionError
from converters.layers import Shape
from converters.matching.links import Arrays, Link


@dataclass(frozen=True)
class Change:
    """The tensors of the checkpoint that a rule puts in the place of those that the module sees.

    Attributes:
        shapes: Shapes of the checkpoint's tensors.
        inward: The checkpoint's tensors -> those that the module sees.
        outward: The inverse.
        lossy: Information that the way back loses, in words; empty if it is exact.
        settles: If true, the rule says how the axes of the tensors are ordered.
    """

    shapes: tuple[Shape, ...]
    inward: Callable[[Arrays], Arrays]
    outward: Callable[[Arrays], Arrays]
    lossy: str = ""
    settles: bool = True


def known_shapes(shapes: Sequence[Shape | None], rule: object) -> list[Shape]:
    """The shapes, all of which must be known."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        raise ConversionError(f"{rule} needs shapes that an earlier rule does not know")
    return known


def match_pattern(pattern: str, name: str) -> tuple[str, ...] | None:
    """Returns what the stars of a pattern stand for in a name, or None where it does not match."""
    found = re.fullmatch("(.+?)".join(re.escape(part) for part in pattern.split("*")), name)
    return found.groups() if found else None


def fill_pattern(pattern: str, stars: Iterable[str]) -> str:
    """Returns the name that a pattern is with these stars."""
    first, *rest = pattern.split("*")
    return first + "".join(star + part for star, part in zip(stars, rest, strict=True))


def complete(names: Iterable[str], patterns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """For each choice of the stars for which all the patterns are among the names: those."""
    if len({pattern.count("*") for pattern in patterns}) > 1:
        raise ConversionError(f"the patterns {', '.join(patterns)} differ in their number of stars")
    names = dict.fromkeys(names)
    for name in names:
        stars = match_pattern(patterns[0], name)
        if stars is not None:
            full = tuple(fill_pattern(pattern, stars) for pattern in patterns)
            if all(part in names for part in full):
                yield full


def expand_names(available: set[str], outside: Sequence[str], inside: Sequence[str]) -> set[str]:
    """Returns the names with each complete set of `outside` names replaced by its `inside` names."""
    found = set(available)
    for full in complete(sorted(available), outside):
        stars = match_pattern(outside[0], full[0]) or ()
        found -= set(full)
        found |= {fill_pattern(pattern, stars) for pattern in inside}
    return found


def rewrite_links(
    links: Sequence[Link],
    inside: Sequence[str],
    outside: Sequence[str],
    change: Callable[[Sequence[Shape | None]], Change],
) -> list[Link]:
    """Puts new tensors in the place of old ones; links that share the new ones become one link."""
    links = list(links)
    for full in list(complete((name for link in links for name in link.tensors), inside)):
        stars = match_pattern(inside[0], full[0]) or ()
        merged = [link for link in links if set(link.tensors) & set(full)]
        at = links.index(merged[0])
        links = [link for link in links if link not in merged]
        links.insert(at, _merge(merged, full, tuple(fill_pattern(p, stars) for p in outside), change))
    return links


def _merge(
    links: Sequence[Link],
    inside: tuple[str, ...],
    outside: tuple[str, ...],
    change: Callable[[Sequence[Shape | None]], Change],
) -> Link:
    shape = {name: shape for link in links for name, shape in zip(link.tensors, link.shapes, strict=True)}
    made = change([shape[name] for name in inside])
    kept = tuple(name for name in shape if name not in inside)

    def to_flax(tensors: Arrays) -> Arrays:
        value = dict(zip(kept, tensors, strict=False))
        value |= dict(zip(inside, made.inward(tensors[len(kept) :]), strict=True))
        return tuple(a for link in links for a in link.to_flax(tuple(value[name] for name in link.tensors)))

    def to_torch(arrays: Arrays) -> Arrays:
        value: dict[str, np.ndarray] = {}
        for link in links:
            mine, arrays = arrays[: len(link.arrays)], arrays[len(link.arrays) :]
            value |= dict(zip(link.tensors, link.to_torch(mine), strict=True))
        return (*(value[name] for name in kept), *made.outward(tuple(value[name] for name in inside)))

    return Link(
        arrays=tuple(array for link in links for array in link.arrays),
        tensors=kept + outside,
        shapes=(*(shape[name] for name in kept), *made.shapes),
        to_flax=to_flax,
        to_torch=to_torch,
        settled=made.settles or all(link.settled for link in links),
        unsure=any(link.unsure for link in links),
        lossy="; ".join(
            dict.fromkeys(text for text in (*(link.lossy for link in links), made.lossy) if text)
        ),
    )
