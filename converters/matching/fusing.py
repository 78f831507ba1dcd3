"""Finds layers of one side that are several of the other, joined: packed projections."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from converters.matching.grouping import Layer, natural, same_leaves

PROJECTIONS = {"q": 0, "query": 0, "k": 1, "key": 1, "v": 2, "value": 2}
MAX_SIBLINGS = 8  # among more layers than these, those that add up to another do so by chance

Stack = list[Layer]  # layers whose names differ in their indices only, by index
Joined = list[tuple[Layer, tuple[Layer, ...]]]


def find_joined(wholes: Sequence[Layer], parts: Sequence[Layer]) -> Joined:
    """Returns layers of one side with the layers of the other that they join, in the order of the parts.

    Only layers without a counterpart come into question: those of which their side has more than the other.
    """
    whole_stacks, part_stacks = _surplus(wholes, parts), _surplus(parts, wholes)
    found: Joined = []
    for whole, chosen in _choices(whole_stacks, part_stacks):
        found += zip(whole, zip(*chosen, strict=True), strict=True)
    return found


def _surplus(mine: Sequence[Layer], other: Sequence[Layer]) -> list[Stack]:
    there = Counter(layer.signature for layer in other)
    count = Counter(layer.signature for layer in mine)
    stacks: dict[str, Stack] = {}
    for layer in mine:
        if count[layer.signature] > there[layer.signature]:
            stacks.setdefault(layer.stack, []).append(layer)
    return [sorted(stack, key=lambda layer: natural(layer.full)) for stack in stacks.values()]


def _choices(wholes: Iterable[Stack], parts: list[Stack]) -> Iterator[tuple[Stack, tuple[Stack, ...]]]:
    for whole in wholes:
        siblings = defaultdict(list)
        for stack in parts:
            siblings[stack[0].stack.rpartition(".")[0]].append(stack)
        choices = [
            chosen
            for near in siblings.values()
            if len(near) <= MAX_SIBLINGS
            for count in (2, 3)
            for chosen in itertools.combinations(near, count)
            if _adds_up(whole, chosen)
        ]
        if choices:
            chosen = min(choices, key=lambda choice: [*map(_projection, choice)].count(None))
            if None not in map(_projection, chosen):
                chosen = tuple(sorted(chosen, key=lambda stack: _projection(stack) or 0))
            for stack in chosen:
                parts.remove(stack)
            yield whole, chosen


def _adds_up(whole: Stack, parts: Sequence[Stack]) -> bool:
    """Returns whether each tensor has as many rows as those of the parts together, and is else like them."""
    if any(len(part) != len(whole) for part in parts):
        return False
    for layer, *others in zip(whole, *parts, strict=True):
        if len({len(each.leaves) for each in (layer, *others)}) > 1:
            return False
        sizes = [dict(other.leaves) for other in others]
        alike = [same_leaves(layer, other) for other in others]
        for (_, shape), *leaves in zip(layer.leaves, *alike, strict=True):
            shapes = [size[leaf] for size, (_, leaf) in zip(sizes, leaves, strict=True)]
            if not shape or any(len(each) != len(shape) or each[1:] != shape[1:] for each in shapes):
                return False
            if sum(each[0] for each in shapes) != shape[0]:
                return False
    return True


def _projection(stack: Stack) -> int | None:
    words = re.split(r"[._]", stack[0].full)
    return next((PROJECTIONS[word] for word in reversed(words) if word in PROJECTIONS), None)
