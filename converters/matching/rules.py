"""Rules for tensors that a checkpoint joins, splits or flattens differently; each has its inverse.

A rule sees names as PyTorch writes them, after the names pairs. In a pattern, `*` stands for one or more
characters, the same in all patterns of the rule: `Fuse("*.qkv.*", ("*.q.*", "*.k.*", "*.v.*"))`.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from converters.errors import ConversionError
from converters.layers import Shape
from converters.matching.joining import concatenate
from converters.matching.links import Arrays, Link


class Rule(Protocol):
    """Interface that `convert` and `to_torch` ask of a rule."""

    def expand(self, available: set[str]) -> set[str]:
        """The names of a checkpoint -> the names that the module sees behind the rule."""

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        """Links to the names that the module sees -> links to the names of the checkpoint."""


@dataclass(frozen=True)
class Fuse:
    """The checkpoint keeps in one tensor what the module has in several, joined along an axis.

    Args:
        tensor: the checkpoint's name.
        parts: the module's names, in the order in which the checkpoint joins them.
        axis: of the tensors as PyTorch keeps them.
    """

    tensor: str
    parts: tuple[str, ...]
    axis: int = 0

    def expand(self, available: set[str]) -> set[str]:
        return _expand(available, (self.tensor,), self.parts)

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        def change(shapes: Sequence[Shape | None]) -> _Change:
            known = _known(shapes, self)
            offsets = np.cumsum([shape[self.axis] for shape in known])
            joined = list(known[0])
            joined[self.axis] = int(offsets[-1])
            return _Change(
                (tuple(joined),),
                inward=lambda tensors: tuple(np.split(tensors[0], offsets[:-1], self.axis)),
                outward=lambda parts: (np.concatenate(parts, self.axis),),
            )

        return _rewrite(links, self.parts, (self.tensor,), change)


@dataclass(frozen=True)
class Split:
    """The checkpoint keeps in several tensors what the module has in one, joined along an axis.

    Args:
        tensor: the module's name.
        parts: the checkpoint's names, in the order in which the module joins them.
        axis: of the tensors as PyTorch keeps them.
        sizes: of the parts along the axis, for `to_torch`; equal ones by default.
    """

    tensor: str
    parts: tuple[str, ...]
    axis: int = 0
    sizes: tuple[int, ...] = ()

    def expand(self, available: set[str]) -> set[str]:
        return _expand(available, self.parts, (self.tensor,))

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        def change(shapes: Sequence[Shape | None]) -> _Change:
            (shape,) = _known(shapes, self)
            sizes = self.sizes or (shape[self.axis] // len(self.parts),) * len(self.parts)
            if sum(sizes) != shape[self.axis] or len(sizes) != len(self.parts):
                raise ConversionError(
                    f"{self} cannot cut axis {self.axis} of {shape} into {sizes}; give sizes= that add up"
                )
            parts = []
            for size in sizes:
                part = list(shape)
                part[self.axis] = size
                parts.append(tuple(part))
            return _Change(
                tuple(parts),
                inward=lambda tensors: (concatenate(tensors, self.axis),),
                outward=lambda whole: tuple(np.split(whole[0], np.cumsum(sizes)[:-1], self.axis)),
            )

        return _rewrite(links, (self.tensor,), self.parts, change)


@dataclass(frozen=True)
class Unflatten:
    """A layer after a flatten: PyTorch flattens (channels, *spatial), the Flax model (*spatial, channels).

    Args:
        tensor: the name of the layer's weight.
        shape: (channels, *spatial) before the flatten.
        axis: of the weight, as PyTorch keeps it, that runs over the flattened values.
    """

    tensor: str
    shape: tuple[int, ...]
    axis: int = 1

    def expand(self, available: set[str]) -> set[str]:
        return available

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        last = (*self.shape[1:], self.shape[0])
        names = [name for link in links for name in link.tensors]
        # Fuse and Split that match nothing leave names that don't fit; this rule would just not be applied.
        if all(_match(self.tensor, name) is None for name in names):
            near = ", ".join(map(repr, difflib.get_close_matches(self.tensor, names) or names[:3]))
            raise ConversionError(
                f"{self} matches no tensor of the module, whose names, after names=, are such as {near}"
            )

        def moved(tensor: np.ndarray, shape: Shape, source: int, target: int) -> np.ndarray:
            axis = self.axis % tensor.ndim
            parts = tensor.reshape(*tensor.shape[:axis], *shape, *tensor.shape[axis + 1 :])
            return np.moveaxis(parts, axis + source, axis + target).reshape(tensor.shape)

        def change(shapes: Sequence[Shape | None]) -> _Change:
            (shape,) = _known(shapes, self)
            if shape[self.axis] != np.prod(self.shape):
                raise ConversionError(f"{self} does not fit axis {self.axis} of {shape}")
            end = len(self.shape) - 1
            return _Change(
                (shape,),
                inward=lambda tensors: (moved(tensors[0], self.shape, 0, end),),
                outward=lambda tensors: (moved(tensors[0], last, end, 0),),
            )

        return _rewrite(links, (self.tensor,), (self.tensor,), change)


@dataclass(frozen=True)
class _Change:
    shapes: tuple[Shape, ...]  # of the checkpoint's tensors
    inward: Callable[[Arrays], Arrays]  # checkpoint -> module
    outward: Callable[[Arrays], Arrays]


def _known(shapes: Sequence[Shape | None], rule: Rule) -> list[Shape]:
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        raise ConversionError(f"{rule} needs shapes that an earlier rule does not know")
    return known


def _match(pattern: str, name: str) -> tuple[str, ...] | None:
    found = re.fullmatch("(.+?)".join(re.escape(part) for part in pattern.split("*")), name)
    return found.groups() if found else None


def _fill(pattern: str, stars: Iterable[str]) -> str:
    first, *rest = pattern.split("*")
    return first + "".join(star + part for star, part in zip(stars, rest, strict=True))


def _complete(names: Iterable[str], patterns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """For each choice of the stars for which all the patterns are among the names: those."""
    if len({pattern.count("*") for pattern in patterns}) > 1:
        raise ConversionError(f"the patterns {', '.join(patterns)} differ in their number of stars")
    names = dict.fromkeys(names)
    for name in names:
        stars = _match(patterns[0], name)
        if stars is not None:
            full = tuple(_fill(pattern, stars) for pattern in patterns)
            if all(part in names for part in full):
                yield full


def _expand(available: set[str], outside: Sequence[str], inside: Sequence[str]) -> set[str]:
    found = set(available)
    for full in _complete(sorted(available), outside):
        stars = _match(outside[0], full[0]) or ()
        found -= set(full)
        found |= {_fill(pattern, stars) for pattern in inside}
    return found


def _rewrite(
    links: Sequence[Link],
    inside: Sequence[str],
    outside: Sequence[str],
    change: Callable[[Sequence[Shape | None]], _Change],
) -> list[Link]:
    """Puts new tensors in the place of old ones; links that share the new ones become one link."""
    links = list(links)
    for full in list(_complete((name for link in links for name in link.tensors), inside)):
        stars = _match(inside[0], full[0]) or ()
        merged = [link for link in links if set(link.tensors) & set(full)]
        at = links.index(merged[0])
        links = [link for link in links if link not in merged]
        links.insert(at, _merge(merged, full, tuple(_fill(p, stars) for p in outside), change))
    return links


def _merge(
    links: Sequence[Link],
    inside: tuple[str, ...],
    outside: tuple[str, ...],
    change: Callable[[Sequence[Shape | None]], _Change],
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
        lossy="; ".join(dict.fromkeys(link.lossy for link in links if link.lossy)),
    )
