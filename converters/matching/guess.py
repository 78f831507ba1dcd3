"""Guesses which layers of a checkpoint are which of a module, where their names do not say so.

Shapes come first; among layers of equal shapes names that say the same, then the order: of the calls on the
one side, of the file on the other. Layers that only their order tells apart are reported as such.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from converters.matching.contiguity import Arrangement, in_order_of_calls
from converters.matching.fusing import Joined, find_joined
from converters.matching.grouping import AUTOMATIC, Layer, natural

MAX_LAYERS = 4000  # a model has fewer, and a list of strange names need not be understood
NUMBERS: tuple[Callable[[Layer], tuple[str, ...]], ...] = (lambda x: x.numbers, lambda x: x.places)
MAX_GROUPS = 64  # of names that differ in more than numbers, of layers with equal shapes


@dataclass
class Alignment:
    """Guessed pairs: one layer for one, and one for several that it joins.

    Attributes:
        pairs: The module's layer and the checkpoint's, in the order of calls.
        fused: The checkpoint's layer and the module's layers that it joins.
        split: The module's layer and the checkpoint's layers that it joins.
        doubtful: The module's layers that nothing but their order tells from others.
        partial: The module's layers that have other tensors in the checkpoint, such as no bias.
        resized: The module's layers that have another number of rows in the checkpoint.
    """

    pairs: list[tuple[Layer, Layer]] = field(default_factory=list)
    fused: Joined = field(default_factory=list)
    split: Joined = field(default_factory=list)
    doubtful: list[Layer] = field(default_factory=list)
    partial: list[Layer] = field(default_factory=list)
    resized: list[Layer] = field(default_factory=list)


def guess_pairs(wanted: Sequence[Layer], there: Sequence[Layer]) -> Alignment:
    """Aligns the layers of a module, in the order of calls, with those of a checkpoint, in its order."""
    found = Alignment()
    if len(wanted) + len(there) > MAX_LAYERS:
        return found
    found.fused = find_joined(there, wanted)
    taken = {layer for whole, parts in found.fused for layer in (whole, *parts)}
    found.split = find_joined(_without(wanted, taken), _without(there, taken))
    taken |= {layer for whole, parts in found.split for layer in (whole, *parts)}
    return _align(_without(wanted, taken), _in_order(_without(there, taken)), found)


def _without(layers: Iterable[Layer], taken: set[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer not in taken]


def _in_order(layers: list[Layer]) -> list[Layer]:
    """Some formats sort the names; then their numbers are all that is left of the order."""
    names = [layer.full for layer in layers]
    return sorted(layers, key=lambda layer: natural(layer.full)) if names == sorted(names) else layers


def _align(ours: list[Layer], theirs: list[Layer], found: Alignment) -> Alignment:
    best = _Pairing(ours, theirs)
    # Modules may be declared in another order than they are called, which layers without rivals show.
    moved = in_order_of_calls(theirs, {best.there[i]: i for i in best.alone})
    if moved != theirs:
        best = min(best, _Pairing(ours, moved), key=lambda pairing: pairing.spread)
    pairs = dict(best.there)
    found.doubtful = [ours[i] for i in sorted(pairs) if i not in best.told]
    _align_rest(ours, best.theirs, pairs, found)
    found.pairs = [(ours[i], best.theirs[j]) for i, j in sorted(pairs.items())]
    return found


class _Pairing:
    """Pairs of layers with equal shapes, by names or in order, for one order of the checkpoint's layers.

    Attributes:
        there: Place of the checkpoint's layer for each place of the module's.
        told: Places of the module's layers that more than their order tells apart.
        alone: Those of them that are the only ones of their shapes.
        spread: Distance between the layers of a module, in places.
    """

    def __init__(self, ours: Sequence[Layer], theirs: Sequence[Layer]) -> None:
        self.ours, self.theirs = ours, theirs
        self.told: set[int] = set()
        self.alone: set[int] = set()
        pairs: dict[int, int] = {}
        beside = _side_by_side(ours, theirs)
        classes = [*_classes(ours, theirs, lambda layer: layer.signature)]
        for mine, other in classes:
            pairs |= self._class(mine, other, beside)
        fixed = {pairs[i] for i in self.told}
        arrangement = Arrangement(ours, theirs, pairs.items())
        arrangement.improve(
            [([i for i in a if i not in self.told], [j for j in b if j not in fixed]) for a, b in classes]
        )
        self.there, self.spread = arrangement.there, arrangement.spread

    def _class(self, mine: list[int], other: list[int], beside: Mapping[int, int]) -> dict[int, int]:
        pairs = _by_names(self.ours, self.theirs, mine, other, self.told)
        left = [i for i in mine if i not in pairs], [j for j in other if j not in set(pairs.values())]
        if len(left[0]) == len(left[1]):
            sure = len(left[0]) == 1 and self.told.issuperset(pairs)
            pairs |= _by_numbers([*zip(*left, strict=True)], self.ours, self.theirs, self.told, sure=sure)
        else:
            pairs |= {i: beside[i] for i in left[0] if beside.get(i) in left[1]}
        if len(mine) == len(other) == 1:
            self.alone.add(mine[0])
        return pairs


Key = Callable[[Layer], object]


def _classes(
    ours: Iterable[Layer], theirs: Iterable[Layer], key: Key
) -> Iterator[tuple[list[int], list[int]]]:
    """Yields the places of layers of equal keys, where both sides have some."""
    classes: dict[object, tuple[list[int], list[int]]] = {}
    for side, layers in enumerate((ours, theirs)):
        for place, layer in enumerate(layers):
            classes.setdefault(key(layer), ([], []))[side].append(place)
    return ((mine, other) for mine, other in classes.values() if mine and other)


def _side_by_side(ours: Sequence[Layer], theirs: Sequence[Layer]) -> dict[int, int]:
    """Pairs the longest runs of layers whose shapes are equal one by one."""
    numbers: dict[object, int] = {}
    one, other = (
        [numbers.setdefault(layer.signature, len(numbers)) for layer in side] for side in (ours, theirs)
    )
    if Counter(one) == Counter(other):
        return {}  # nobody asks: every class has as many on both sides
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return {block.a + k: block.b + k for block in blocks for k in range(block.size)}


def _by_names(
    ours: Sequence[Layer], theirs: Sequence[Layer], mine: Sequence[int], other: Sequence[int], told: set[int]
) -> dict[int, int]:
    """Returns pairs, within a class, of groups of layers whose names resemble each other's and no other's."""
    found: dict[int, int] = {}
    groups, there = _grouped(ours, mine), _grouped(theirs, other)
    if len(groups) == len(there) == 1 or len(groups) * len(there) > MAX_GROUPS**2:
        return found
    scores = {(a, b): _resemblance(a, b) for a in groups for b in there}
    while scores:
        best = [(a, b) for a, b in _mutual(scores) if len(groups[a]) == len(there[b])]
        for a, b in best:
            pairs = [*zip(groups[a], there[b], strict=True)]
            found |= _by_numbers(pairs, ours, theirs, told, sure=a[-1] == b[-1])
        used, gone = {a for a, _ in best}, {b for _, b in best}
        rest = {(a, b): s for (a, b), s in scores.items() if a not in used and b not in gone}
        if len(rest) == len(scores):
            break
        scores = rest
    return found


Words = tuple[str, ...]


def _mutual(scores: Mapping[tuple[Words, Words], float]) -> Iterator[tuple[Words, Words]]:
    """Yields pairs of names that resemble each other more than either resembles any other."""
    rows: dict[Words, list[float]] = defaultdict(list)
    columns: dict[Words, list[float]] = defaultdict(list)
    for (a, b), score in scores.items():
        rows[a].append(score)
        columns[b].append(score)
    for (a, b), score in scores.items():
        if score >= 1 and all(
            each.count(score) == 1 and max(each) == score for each in (rows[a], columns[b])
        ):
            yield a, b


def _grouped(layers: Sequence[Layer], places: Sequence[int]) -> dict[Words, list[int]]:
    groups: dict[Words, list[int]] = defaultdict(list)
    for place in places:
        groups[layers[place].words].append(place)
    return groups


def _resemblance(one: Words, other: Words) -> float:
    """Returns how many words the names have in common; the last one counts twice."""
    if not one or not other:
        return 0.0
    alike = one[-1].startswith(other[-1]) or other[-1].startswith(one[-1])
    return len(set(one) & set(other)) + (1.0 if one[-1] == other[-1] else 0.5 if alike else 0.0)


def _by_numbers(
    pairs: Sequence[tuple[int, int]],
    ours: Sequence[Layer],
    theirs: Sequence[Layer],
    told: set[int],
    *,
    sure: bool,
) -> dict[int, int]:
    """Returns pairs of equal numbers where both sides have the same, else those in order.

    Args:
        pairs: Places of layers, both in order.
        ours: The module's layers.
        theirs: The checkpoint's layers.
        told: Gets the places of ours that more than their order tells apart.
        sure: If true, the layers as a group are beyond doubt.
    """
    if len(pairs) == 1 and sure:
        told.add(pairs[0][0])
    if len(pairs) < 2:
        return dict(pairs)
    for key in NUMBERS:
        mine, other = {i: key(ours[i]) for i, _ in pairs}, {j: key(theirs[j]) for _, j in pairs}
        count = Counter(mine.values())
        if all(mine.values()) and count == Counter(other.values()):
            place = {number: at for at, number in enumerate(count)}
            told |= {i for i in mine if count[mine[i]] == 1}
            in_order = (sorted(side, key=lambda at: place[side[at]]) for side in (mine, other))
            return dict(zip(*in_order, strict=True))
    same = {i for i, j in pairs if ours[i].indices == theirs[j].indices}
    count = Counter(tuple(ours[i].indices) for i, _ in pairs)
    # Flax's own numbers count calls: only all of them together say anything.
    if len(same) == len(pairs) or not any(AUTOMATIC.search(ours[i].name) for i, _ in pairs):
        told |= {i for i in same if count[tuple(ours[i].indices)] == 1}
    return dict(pairs)


def _align_rest(
    ours: Sequence[Layer], theirs: Sequence[Layer], pairs: dict[int, int], found: Alignment
) -> None:
    """Pairs what is left by its largest tensor, or its columns: there is another bias, or another head."""
    for key, names in ((_largest, found.partial), (_columns, found.resized)):
        left = [i for i in range(len(ours)) if i not in pairs]
        there = [j for j in range(len(theirs)) if j not in set(pairs.values())]
        for mine, other in _classes([ours[i] for i in left], [theirs[j] for j in there], key):
            few = len(mine) == len(other) == 1
            same = len(mine) == len(other) and names is found.partial
            if (few or same) and key(ours[left[mine[0]]]):
                pairs |= {left[i]: there[j] for i, j in zip(mine, other, strict=True)}
                names += [ours[left[i]] for i in mine]


def _plain(layer: Layer) -> bool:
    return not any(name for name, _ in layer.signature)


def _largest(layer: Layer) -> object:
    return max(layer.shapes, key=lambda shape: (len(shape), shape)) if _plain(layer) else None


def _columns(layer: Layer) -> object:
    columns = sorted(shape[1:] for shape in layer.shapes)
    return tuple(columns) if any(columns) and _plain(layer) else None
