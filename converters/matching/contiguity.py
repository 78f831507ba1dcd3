"""Exchanges layers of equal shapes until those of one module are called one after the other.

A module's layers are called in one go, as a rule, and stand together in a file. Of two layers of the same
shapes, the one is right that is called among the others of its module.
"""

from collections.abc import Iterable, Iterator, Sequence

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

    def improve(self, pools: Sequence[tuple[Sequence[int], Sequence[int]]]) -> None:
        """Exchanges pairs within pools, of our places and theirs, while that brings modules together."""
        left = MAX_EXCHANGES
        for _ in range(MAX_PASSES):
            changed = False
            for ours, theirs in pools:
                for i in ours:
                    if i not in self.there or not self._loose(i):
                        continue
                    left -= len(theirs)
                    if left < 0:
                        return
                    gain, j = max(((self._gain(i, j), j) for j in theirs), key=lambda each: each[0])
                    if gain > 0:
                        self._exchange(i, j)
                        changed = True
            if not changed:
                return

    def _exchange(self, i: int, j: int) -> None:
        old, other = self.there[i], self.here.pop(j, None)
        self.there[i], self.here[j] = j, i
        if old != j:
            self.here.pop(old, None)
            if other is not None:
                self.there[other], self.here[old] = old, other

    def _gain(self, i: int, j: int) -> int:
        """Returns how many places nearer together the modules come when the two become a pair."""
        old = self.there[i]
        if old == j:
            return 0
        other = self.here.get(j)
        theirs = [*self._theirs.apart(old, j)]
        ours = [*self._ours.apart(i, other)]
        before = _spread(theirs, self.here) + _spread(ours, self.there)
        self._exchange(i, j)
        after = _spread(theirs, self.here) + _spread(ours, self.there)
        self._exchange(i, old) if other is not None else self._back(i, old, j)
        return before - after

    def _back(self, i: int, old: int, j: int) -> None:
        del self.here[j]
        self.there[i], self.here[old] = old, i

    def _loose(self, i: int) -> bool:
        """Returns whether other layers are called between those of a module around this one."""
        theirs = self._theirs.around(self.there[i])
        return any(_spread([group], self.here) >= len(group) for group in theirs) or any(
            _spread([group], self.there) >= len(group) for group in self._ours.around(i)
        )


class _Groups:
    """Places of the layers in each module, and the modules around each layer."""

    def __init__(self, members: dict[str, list[int]], containers: Sequence[Sequence[str]]) -> None:
        self._members = members
        self._containers = containers

    def around(self, place: int) -> Iterator[list[int]]:
        return (self._members[name] for name in self._containers[place])

    def apart(self, one: int, other: int | None) -> Iterator[list[int]]:
        """Yields the modules around one of two layers but not the other."""
        first = self._containers[one]
        second = self._containers[other] if other is not None else ()
        for name in first:
            if name not in second:
                yield self._members[name]
        for name in second:
            if name not in first:
                yield self._members[name]


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
