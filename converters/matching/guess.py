"""Which layers of a checkpoint are perhaps which of a module, where their names do not say so.

Told by the shapes of their tensors, then by names that resemble each other, then by order: a guess.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from converters.layers import Shape

# Other words for the names that torch's layers give to their tensors.
SYNONYMS = {
    "weight": ("gamma", "scale", "kernel", "w", "g", "embedding"),
    "bias": ("beta", "b", "offset", "shift"),
    "running_mean": ("mean", "moving_mean"),
    "running_var": ("var", "moving_var", "moving_variance"),
}
LEAVES = {word: leaf for leaf, words in SYNONYMS.items() for word in (leaf, *words)}
INDEX = r"(?<![^.])\d+(?![^.])"  # of a list: a part of the name that is a number
PROJECTIONS = {"q": 0, "query": 0, "k": 1, "key": 1, "v": 2, "value": 2}
MAX_COMPARED = (
    100_000  # pairs of layers: a model has fewer, and a list of strange names need not be understood
)
MAX_SIBLINGS = 8  # among more layers than these, those that add up to another do so by chance


@dataclass(frozen=True)
class Layer:
    """Tensors whose names differ in the last part only."""

    name: str
    leaves: tuple[tuple[str, Shape], ...]

    @property
    def stack(self) -> str:
        """The name of all layers that differ in their indices only.

        A compact module has no lists: there the first number is the index, of `Block_0.LayerNorm_1` the 0.
        """
        if re.search(INDEX, self.name):
            return re.sub(INDEX, "*", self.name)
        return re.sub(r"\d+", "*", self.name, count=1)

    @property
    def indices(self) -> list[str]:
        return re.findall(INDEX, self.name) or re.findall(r"\d+", self.name)[:1]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(sorted(shape for _, shape in self.leaves))


def layers(shapes: Mapping[str, Shape]) -> list[Layer]:
    """The layers that tensors of these names belong to, in the order of their first tensors."""
    found: dict[str, list[tuple[str, Shape]]] = {}
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition(".")
        found.setdefault(layer, []).append((leaf, shape))
    return [Layer(name, tuple(leaves)) for name, leaves in found.items()]


# What the layers of a stack have in common: names but for the numbers, but for the indices, or names.
STACKS: tuple[Callable[[Layer], str], ...] = (
    lambda layer: re.sub(r"\d+", "*", layer.name),
    lambda layer: layer.stack,
    lambda layer: layer.name,
)


@dataclass
class Alignment:
    """Guessed pairs: one layer for one, and one for several that it joins.

    Attributes:
        pairs: (the module's, the checkpoint's).
        fused: (the checkpoint's layer, the module's layers it joins).
        split: (the module's layer, the checkpoint's layers it joins).
        doubtful: names of the module's layers that nothing but their order tells from others.
        resized: names of the module's layers that have another number of rows in the checkpoint.
    """

    pairs: list[tuple[Layer, Layer]] = field(default_factory=list)
    fused: list[tuple[Layer, tuple[Layer, ...]]] = field(default_factory=list)
    split: list[tuple[Layer, tuple[Layer, ...]]] = field(default_factory=list)
    doubtful: dict[str, None] = field(default_factory=dict)
    resized: list[str] = field(default_factory=list)


def guess_pairs(wanted: Sequence[Layer], there: Sequence[Layer]) -> Alignment:
    """Aligns the layers of a module, in the order of their calls, with those of a checkpoint."""
    found = Alignment()
    ours, theirs = (_stacks(side, lambda layer: layer.stack) for side in (wanted, there))
    if len(ours) * len(theirs) > MAX_COMPARED:
        return found
    for whole, parts in _joined(theirs, ours):
        found.fused += zip(whole, zip(*parts, strict=True), strict=True)
    for whole, parts in _joined(ours, theirs):
        found.split += zip(whole, zip(*parts, strict=True), strict=True)
    for name in STACKS:
        ours, theirs = (_stacks(itertools.chain.from_iterable(stacks), name) for stacks in (ours, theirs))
        for our, their in _chosen(ours, theirs, found):
            found.pairs += zip(our, their, strict=True)
            found.doubtful |= dict.fromkeys(_in_doubt(our, their))
    for mine, other in _resized(*(itertools.chain.from_iterable(stacks) for stacks in (ours, theirs))):
        found.pairs.append((mine, other))
        found.resized.append(mine.name)
    order = {layer: index for index, layer in enumerate(wanted)}
    found.pairs.sort(key=lambda pair: order[pair[0]])
    return found


Stack = list[Layer]  # layers whose names differ in numbers only, by number


def _stacks(found: Iterable[Layer], name: Callable[[Layer], str]) -> list[Stack]:
    stacks: dict[str, Stack] = {}
    for layer in found:
        stacks.setdefault(name(layer), []).append(layer)
    return [sorted(stack, key=_numbers) for stack in stacks.values()]


def _numbers(layer: Layer) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", layer.name))


def _in_doubt(ours: Stack, theirs: Stack) -> Iterator[str]:
    """The layers of a stack that have neither numbers nor shapes of their own to tell them by."""
    alike = Counter((layer.shapes, tuple(layer.indices)) for layer in ours)
    shapes = Counter(layer.shapes for layer in ours)
    for one, other in zip(ours, theirs, strict=True):
        same = one.indices == other.indices and alike[one.shapes, tuple(one.indices)] == 1
        if shapes[one.shapes] > 1 and not same and _numbers(one) != _numbers(other):
            yield one.name


def _joined(wholes: list[Stack], parts: list[Stack]) -> Iterator[tuple[Stack, tuple[Stack, ...]]]:
    """Takes out of both lists the stacks whose layers are sibling layers of the other side, joined."""
    same = {tuple(layer.shapes for layer in stack) for stack in parts}
    for whole in list(wholes):
        if tuple(layer.shapes for layer in whole) in same:
            continue
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
            wholes.remove(whole)
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
        alike = (same_leaves(layer, other) for other in others)
        for (_, shape), *leaves in zip(layer.leaves, *alike, strict=True):
            shapes = [leaf_shape for _, leaf_shape in leaves]
            if not shape or any(len(each) != len(shape) or each[1:] != shape[1:] for each in shapes):
                return False
            if sum(each[0] for each in shapes) != shape[0]:
                return False
    return True


def _projection(stack: Stack) -> int | None:
    words = re.split(r"[._]", stack[0].name)
    return next((PROJECTIONS[word] for word in reversed(words) if word in PROJECTIONS), None)


def _chosen(ours: list[Stack], theirs: list[Stack], found: Alignment) -> Iterator[tuple[Stack, Stack]]:
    """Takes pairs of equal shapes out of both lists: resembling names first, then in order."""
    classes: dict[object, tuple[list[Stack], list[Stack]]] = {}
    for side, stacks in enumerate((ours, theirs)):
        for stack in stacks:
            classes.setdefault(tuple(layer.shapes for layer in stack), ([], []))[side].append(stack)
    for mine, other in classes.values():
        if len(mine) * len(other) > MAX_COMPARED:
            continue
        words = [[_words(stack) for stack in side] for side in (mine, other)]
        scores = np.array([[_resemblance(one, two) for two in words[1]] for one in words[0]])
        order = sorted(np.ndindex(scores.shape), key=lambda at: (-scores[at], abs(at[0] - at[1])))
        rows, columns = set(range(len(mine))), set(range(len(other)))
        for i, j in order:
            # Where one side has more, only names can tell which are the right ones.
            if i in rows and j in columns and (len(mine) == len(other) or scores[i, j] >= 1):
                rivals = [scores[i, k] for k in columns - {j}] + [scores[k, j] for k in rows - {i}]
                if max(rivals, default=-1) >= scores[i, j]:
                    same = [k for k in sorted(rows) if k == i or scores[k, j] >= scores[i, j]]
                    found.doubtful |= {mine[k][0].stack: None for k in same}
                rows.remove(i)
                columns.remove(j)
                ours.remove(mine[i])
                theirs.remove(other[j])
                yield mine[i], other[j]


def _resized(ours: Iterable[Layer], theirs: Iterable[Layer]) -> Iterator[tuple[Layer, Layer]]:
    """Yields pairs left on both sides with as many columns: a head for another number of classes."""
    classes: dict[object, tuple[list[Layer], list[Layer]]] = {}
    for side, left in enumerate((ours, theirs)):
        for layer in left:
            columns = sorted(shape[1:] for shape in layer.shapes)
            if any(columns):
                classes.setdefault(tuple(columns), ([], []))[side].append(layer)
    for mine, other in classes.values():
        if len(mine) == len(other) == 1:
            yield mine[0], other[0]


def _words(stack: Stack) -> list[str]:
    return [word for word in re.split(r"[._\d]+", stack[0].name.lower()) if word]


def _resemblance(one: list[str], other: list[str]) -> float:
    """From 0 to 2: the share of words in common, and whether the last words are alike."""
    if not one or not other:
        return 0.0
    shared = 2 * len(set(one) & set(other)) / (len(one) + len(other))
    alike = one[-1].startswith(other[-1]) or other[-1].startswith(one[-1])
    return shared + (1.0 if one[-1] == other[-1] else 0.5 if alike else 0.0)


def same_leaves(one: Layer, other: Layer) -> list[tuple[str, Shape]]:
    """The tensors of the other layer in the order of the first one's: by name or synonym, then by shape."""
    rest = dict(other.leaves)
    found: list[tuple[str, Shape] | None] = []
    for name, _ in one.leaves:
        match = next((n for n in rest if LEAVES.get(n, n) == LEAVES.get(name, name)), None)
        found.append((match, rest.pop(match)) if match is not None else None)
    for index, (_, shape) in enumerate(one.leaves):
        if found[index] is None:
            like = min(rest, key=lambda name: (rest[name] != shape, len(rest[name]) != len(shape)))
            found[index] = (like, rest.pop(like))
    return [pair for pair in found if pair]
