"""Exchanges layers of equal shapes until those of one module are called one after the other.

A module's layers are called in one go, as a rule, and stand together in a file. Of two layers of the same
shapes, the one is right that is called among the others of its module.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from converters.matching.grouping import Layer

MAX_PASSES = 6
MAX_EXCHANGES = 40_000  # tried; each costs some microseconds

Places = dict[int, int]


class Arrangement:
    """Pairs of layers by their places: in the order of calls on one side, in the file on the other.

    Attributes:
        there: Place in the file for each place in the order of calls.
        here: The inverse.
    """

    def __init__(
        self, ours: Sequence[Layer], theirs: Sequence[Layer], pairs: Iterable[tuple[int, int]]
    ) -> None:
        self.there: Places = dict(pairs)
        self.here: Places = {j: i for i, j in self.there.items()}
        self._ours, self._theirs = _groups(ours), _groups(theirs)
        self._signatures = [layer.signature for layer in theirs]
        self._left = MAX_EXCHANGES

    @property
    def spread(self) -> int:
        """Returns the distance between the layers of each module, in places, summed; less is better."""
        theirs, ours = self._theirs.members.values(), self._ours.members.values()
        return _spread(theirs, self.here) + _spread(ours, self.there)

    def improve(self, pools: Sequence[tuple[Sequence[int], Sequence[int]]]) -> None:
        """Exchanges pairs within pools, of our places and theirs, while that brings modules together."""
        movable = {j for _, theirs in pools for j in theirs}
        for _ in range(MAX_PASSES):
            layers = [self._exchange_layers(*pool) for pool in pools]
            modules = [self._exchange_modules(alike) for alike in self._modules_alike(movable)]
            if self._left < 0 or not any((*layers, *modules)):
                return

    def _exchange_layers(self, ours: Sequence[int], theirs: Sequence[int]) -> bool:
        changed = False
        for i in ours:
            if i in self.there and self._loose(i):
                changed |= self._exchange_best([[(i, j)] for j in theirs if j != self.there[i]])
        return changed

    def _exchange_modules(self, alike: Sequence[Sequence[int]]) -> bool:
        changed = False
        for one in alike:
            if any(self._loose(self.here[j]) for j in one):
                pairs = [[(self.here[a], b) for a, b in zip(one, other, strict=True)] for other in alike]
                changed |= self._exchange_best([each for each in pairs if each != pairs[alike.index(one)]])
        return changed

    def _modules_alike(self, movable: set[int]) -> Iterator[list[list[int]]]:
        """Yields the places of modules in the file with layers of the same shapes, all of them paired."""
        alike: dict[object, list[list[int]]] = {}
        for places in self._theirs.members.values():
            if len(places) > 1 and movable.issuperset(places) and self.here.keys() >= set(places):
                alike.setdefault(tuple(self._signatures[j] for j in places), []).append(places)
        return (modules for modules in alike.values() if len(modules) > 1)

    def _exchange_best(self, choices: Sequence[Sequence[tuple[int, int]]]) -> bool:
        """Makes the new pairs that bring modules together most, if any do."""
        self._left -= sum(map(len, choices))
        if self._left < 0 or not choices:
            return False
        gain, best = max(((self._gain(each), each) for each in choices), key=lambda scored: scored[0])
        if gain > 0:
            self._pair(best)
        return gain > 0

    def _gain(self, pairs: Sequence[tuple[int, int]]) -> int:
        """Returns by how many places the modules come together with these pairs."""
        theirs = self._theirs.apart([(self.there[i], j) for i, j in pairs])
        ours = self._ours.apart([(i, self.here[j]) for i, j in pairs if j in self.here])
        before = _spread(theirs, self.here) + _spread(ours, self.there)
        old = dict(self.there), dict(self.here)
        self._pair(pairs)
        after = _spread(theirs, self.here) + _spread(ours, self.there)
        self.there, self.here = old
        return before - after

    def _pair(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Makes new pairs; a layer that loses its own gets the one that is left."""
        for i, j in pairs:
            old, other = self.there[i], self.here.get(j)
            self.there[i], self.here[j] = j, i
            if other is None:
                del self.here[old]
            else:
                self.there[other], self.here[old] = old, other

    def _loose(self, i: int) -> bool:
        """Returns whether other layers are called between those of a module around this one."""
        theirs = self._theirs.around(self.there[i])
        return any(_spread([group], self.here) >= len(group) for group in theirs) or any(
            _spread([group], self.there) >= len(group) for group in self._ours.around(i)
        )


class _Groups:
    """Places of the layers in each module, and the modules around each layer."""

    def __init__(self, members: dict[str, list[int]], containers: Sequence[Sequence[str]]) -> None:
        self.members = members
        self._containers = containers

    def around(self, place: int) -> Iterator[list[int]]:
        return (self.members[name] for name in self._containers[place])

    def apart(self, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
        """Returns the modules around one layer of a pair but not the other."""
        names: set[str] = set()
        for one, other in pairs:
            names |= set(self._containers[one]) ^ set(self._containers[other])
        return [self.members[name] for name in names]


def _groups(layers: Sequence[Layer]) -> _Groups:
    members: dict[str, list[int]] = {}
    for place, layer in enumerate(layers):
        for name in layer.containers:
            members.setdefault(name, []).append(place)
    whole = {name for name, places in members.items() if len(places) == len(layers)}
    return _Groups(members, [[n for n in layer.containers if n not in whole] for layer in layers])


def _spread(groups: Iterable[Sequence[int]], places: Places) -> int:
    total = 0
    for group in groups:
        found = [places[member] for member in group if member in places]
        if found:
            total += max(found) - min(found)
    return total


def in_order_of_calls(layers: Sequence[Layer], calls: Mapping[int, int]) -> list[Layer]:
    """Returns a file's layers with each module's parts in the order of calls, where calls are known.

    Args:
        layers: Layers in the order of the file.
        calls: Place of a layer in the file -> its place in the order of calls, for some of them.
    """
    known: dict[str, list[int]] = {}
    for place, call in calls.items():
        for name in (layers[place].full, *layers[place].containers):
            known.setdefault(name, []).append(call)
    mean = {name: sum(found) / len(found) for name, found in known.items()}
    last: dict[str, float] = {}  # of each module, where its part before this one is called
    keys: dict[str, tuple[float, int]] = {}
    for place, layer in enumerate(layers):
        for inner, outer in itertools.pairwise((layer.full, *layer.containers, "")):
            if inner not in keys:
                last[outer] = mean.get(inner, last.get(outer, -1))
                keys[inner] = last[outer], place
    return sorted(layers, key=lambda layer: [keys[n] for n in (*reversed(layer.containers), layer.full)])
