"""Writes guessed pairs of layers as names pairs: few, in an order in which none changes what another made."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from converters.matching.grouping import Layer, joined, same_leaves, template
from converters.matching.renaming import Renaming, beginning

Names = tuple[tuple[str, str], ...]
GROUP = r"(\d+)"
MARK = "@"  # before a name that is final, where names change places


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A names pair by its parts between dots, and the tensors that it is for."""

    old: tuple[str, ...]  # regular expressions
    new: tuple[str, ...]
    whole: bool  # the last parts are layers, not tensors
    tensors: tuple[tuple[str, str], ...]  # old and new names

    @property
    def regex(self) -> tuple[str, str]:
        if self.whole:
            return "^" + "".join(rf"{part}\." for part in self.old), "".join(f"{part}." for part in self.new)
        return "^" + r"\.".join(self.old) + "$", ".".join(self.new)


def write_pairs(pairs: Sequence[tuple[Layer, Layer]], others: Sequence[str]) -> Iterator[Names]:
    """Yields lists of names pairs that make exactly these pairs of layers, the shortest first.

    Args:
        pairs: The module's layers and the checkpoint's.
        others: The module's other tensors, whose names are right.
    """
    made = [*_pairs(pairs)]
    wanted = {old: new for pair in made for old, new in pair.tensors} | {name: name for name in others}
    general = [*_general(made)]
    seen = set()
    for found in (_shortened(general), general, _shortened(made), made):
        for names in _orders([pair for pair in found if any(old != new for old, new in pair.tensors)]):
            if names not in seen and _makes(names, wanted):
                yield names
            seen.add(names)


def _makes(names: Names, wanted: Mapping[str, str]) -> bool:
    rename = Renaming(names)
    return all(rename(old) == new for old, new in wanted.items())


def _pairs(pairs: Iterable[tuple[Layer, Layer]]) -> Iterator[_Pair]:
    """Yields a pair for each layer, or for each tensor where those have other names below their layers."""
    for our, their in pairs:
        leaves = same_leaves(our, their)
        tensors = [(joined(our.name, old), joined(their.name, new)) for old, new in leaves]
        layers = our.part == their.part == "" and our.name and their.name
        if layers and all(old == new for old, new in leaves):
            yield _pair(our.name, their.name, tensors, whole=True)
        else:
            for old, new in tensors:
                yield _pair(old, new, [(old, new)], whole=False)


def _pair(old: str, new: str, tensors: Sequence[tuple[str, str]], *, whole: bool) -> _Pair:
    parts = tuple(re.escape(part) for part in old.split("."))
    escaped = tuple(part.replace("\\", r"\\") for part in new.split("."))
    return _Pair(old=parts, new=escaped, whole=whole, tensors=tuple(tensors))


def _general(pairs: Iterable[_Pair]) -> Iterator[_Pair]:
    """Yields one pair for all that differ in numbers which their old and new names have in common."""
    alike: dict[tuple[str, str, bool], list[_Pair]] = {}
    for pair in pairs:
        alike.setdefault((template(".".join(pair.old)), template(".".join(pair.new)), pair.whole), []).append(
            pair
        )
    for group in alike.values():
        yield from _with_groups(group)


def _with_groups(pairs: list[_Pair]) -> Iterator[_Pair]:
    old = [re.findall(r"\d+", ".".join(pair.old)) for pair in pairs]
    new = [re.findall(r"\d+", ".".join(pair.new)) for pair in pairs]
    same: dict[int, int] = {}  # number of the new name -> number of the old one that it repeats
    for j in range(len(new[0])):
        for i in range(len(old[0])):
            # A number that is always the same one is no example of anything.
            if len({numbers[i] for numbers in old}) > 1 and all(
                o[i] == n[j] for o, n in zip(old, new, strict=True)
            ):
                same[j] = i
    order = sorted(set(same.values()))
    groups: dict[object, list[_Pair]] = {}
    for pair, o, n in zip(pairs, old, new, strict=True):
        fixed = [x for i, x in enumerate(o) if i not in order], [x for j, x in enumerate(n) if j not in same]
        groups.setdefault(str(fixed), []).append(pair)
    for group in groups.values():
        first = group[0]
        if len(group) > 1:
            olds = _replaced(first.old, dict.fromkeys(order, GROUP))
            news = _replaced(first.new, {j: rf"\{order.index(i) + 1}" for j, i in same.items()})
            tensors = tuple(itertools.chain.from_iterable(pair.tensors for pair in group))
            first = replace(first, old=olds, new=news, tensors=tensors)
        yield first


def _replaced(parts: tuple[str, ...], by_index: Mapping[int, str]) -> tuple[str, ...]:
    counter = itertools.count()
    return tuple(re.sub(r"\d+", lambda match: by_index.get(next(counter), match[0]), part) for part in parts)


def _shortened(pairs: Iterable[_Pair]) -> list[_Pair]:
    """Returns pairs of whole subtrees in place of those of their layers, where these agree."""
    by_old: dict[tuple[str, ...], list[tuple[_Pair, _Pair]]] = {}
    for pair in pairs:
        short = _shorter(pair)
        by_old.setdefault(short.old, []).append((short, pair))
    found: list[_Pair] = []
    for group in by_old.values():
        if len({short.regex for short, _ in group}) > 1:
            found += [pair for _, pair in group]
        else:
            tensors = tuple(itertools.chain.from_iterable(pair.tensors for _, pair in group))
            found.append(replace(group[0][0], tensors=tensors))
    return found


def _shorter(pair: _Pair) -> _Pair:
    """Returns the pair without the last parts that both sides have in common."""
    while len(pair.old) > 1 and len(pair.new) > 1:
        before = sum(part.count("(") for part in pair.old[:-1])
        same = pair.old[-1]
        for index in range(before + 1, before + 1 + same.count(GROUP)):
            same = same.replace(GROUP, f"\\{index}", 1)
        rest = pair.new[:-1]
        repeated = any(int(index) > before for index in re.findall(r"\\(\d+)", ".".join(rest)))
        if pair.new[-1] != same.replace("\\-", "-") or repeated:
            break
        pair = replace(pair, old=pair.old[:-1], new=rest, whole=True)
    return pair


def _orders(pairs: Sequence[_Pair]) -> Iterator[Names]:
    """Yields the pairs so that narrow ones come before wide ones, and none changes what another has made."""
    uses: dict[str, list[tuple[int, str]]] = {}
    for at, pair in enumerate(pairs):
        for old, new in pair.tensors:
            uses.setdefault(old, []).append((at, "old"))
            uses.setdefault(new, []).append((at, "new"))
    before: dict[int, dict[int, None]] = {
        at: {} for at in range(len(pairs))
    }  # no sets: drafts are repeatable
    for at, pair in enumerate(pairs):
        pattern, start = re.compile(pair.regex[0]), beginning(pair.regex[0])
        changed = (name for name in uses if name.startswith(start) and pattern.match(name))
        for other, side in itertools.chain.from_iterable(uses[name] for name in changed):
            if other != at:
                first, second = (other, at) if side == "old" else (at, other)
                before[second][first] = None
    try:
        yield tuple(pairs[at].regex for at in TopologicalSorter(before).static_order())
    except CycleError:  # names that change places
        made = (pair.regex for pair in pairs)
        yield (*((old, MARK + new) for old, new in made), ("^" + MARK, ""))
