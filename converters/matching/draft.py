"""A draft of the names pairs and rules that a misfit seems to lack; for its user to check."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from converters.errors import ConversionError
from converters.layers import Shape
from converters.matching.fit import Fit
from converters.matching.guess import Alignment, Layer, guess_pairs, layers, same_leaves
from converters.matching.rules import Fuse, Rule, Split

NamesAndRules = tuple[tuple[str, str] | Rule, ...]
MAX_LINES = 30


@dataclass(frozen=True)
class Draft:
    """Names and rules, how many problems they leave, and what in them is a guess."""

    names: NamesAndRules
    problems: int
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        state = "all fits" if not self.problems else f"{self.problems} problems remain"
        lines = [f"a draft of names= with which {state}; check it before you use it:"]
        lines += [f"  {_shown(item)}," for item in self.names[:MAX_LINES]]
        if len(self.names) > MAX_LINES:
            lines.append(f"  ... and {len(self.names) - MAX_LINES} more, in the error's attribute `draft`")
        return "\n".join([*lines, *self.doubts])


def make_draft(misfit: Fit, attempt: Callable[[NamesAndRules], Fit]) -> Draft | None:
    """Pairs and rules with which fewer problems remain, or None.

    Args:
        misfit: what does not fit.
        attempt: fits again, with names and rules added.
    """
    ours, theirs = _strangers(misfit)
    found = guess_pairs(ours, theirs)
    rules = _rules(found)
    best: Draft | None = None
    for pairs in (_shortened(_pairs(found)), _pairs(found)):
        names: NamesAndRules = (*(pair.regex for pair in _ordered(pairs)), *rules)
        try:
            problems = len(attempt(names).problems) if names else len(misfit.problems)
        except ConversionError:
            continue
        if problems < (best.problems if best else len(misfit.problems)):
            best = Draft(names, problems, tuple(_doubts(found, rules)))
    return best


def _strangers(misfit: Fit) -> tuple[list[Layer], list[Layer]]:
    """The layers that have no counterpart yet, of the module and of the checkpoint.

    Of numbered layers all or none: where layers.1 is missing, layers.2 may not be the checkpoint's layers.2.
    """
    cut = len(misfit.prefix)
    wanted: dict[str, Shape] = {
        name[cut:]: shape
        for link in misfit.links
        for name, shape in zip(link.tensors, link.shapes, strict=True)
        if shape is not None
    }
    there = {name[cut:]: misfit.tensors.shapes[name] for name in misfit.tensors}
    bad = {_template(name) for name, shape in wanted.items() if there.get(name) != shape}
    settled = {name for name in wanted if _template(name) not in bad}
    settled |= {name[cut:] for name in misfit.ignored}
    return (
        layers({name: shape for name, shape in wanted.items() if name not in settled}),
        layers({name: shape for name, shape in there.items() if name not in settled}),
    )


def _template(name: str) -> str:
    return re.sub(r"\d+", "*", name)


@dataclass(frozen=True)
class _Pair:
    """A names pair by its parts between dots, and the names that it was made from."""

    old: tuple[str, ...]  # regular expressions
    new: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    whole: bool  # the last parts are layers, not tensors

    @property
    def regex(self) -> tuple[str, str]:
        if self.whole:
            return "^" + "".join(rf"{part}\." for part in self.old), "".join(f"{part}." for part in self.new)
        return "^" + r"\.".join(self.old) + "$", ".".join(self.new)

    def changes(self, names: Iterable[str]) -> bool:
        pattern = re.compile(self.regex[0])
        return any(pattern.search(name) for name in names)


def _pairs(found: Alignment) -> list[_Pair]:
    """A pair for each two stacks of numbered layers, with groups where the numbers agree."""
    renamed: dict[tuple[str | bool, ...], list[tuple[str, str]]] = {}
    for our, their in found.pairs:
        leaves = [name for name, _ in our.leaves]
        like = [name for name, _ in same_leaves(our, their)]
        whole = leaves == like and "" not in (our.name, their.name)
        full = [
            (_join(our.name, leaf), _join(their.name, other))
            for leaf, other in zip(leaves, like, strict=True)
        ]
        for pair in [(our.name, their.name)] if whole else full:
            renamed.setdefault((*map(_template, pair), whole), []).append(pair)
    made = (pair for (*_, whole), names in renamed.items() for pair in _generalised(names, bool(whole)))
    return [pair for pair in made if pair.inputs != pair.outputs]


def _join(layer: str, leaf: str) -> str:
    return f"{layer}.{leaf}" if layer else leaf


def _generalised(names: list[tuple[str, str]], whole: bool) -> Iterator[_Pair]:
    numbers = [(re.findall(r"\d+", old), re.findall(r"\d+", new)) for old, new in names]
    olds, news = (range(len(found)) for found in numbers[0])
    # Which number of the old name each number of the new one repeats; one example proves nothing.
    same = {j: i for j in news for i in olds if len(names) > 1 and all(o[i] == n[j] for o, n in numbers)}
    groups: dict[tuple[tuple[str, ...], ...], list[tuple[str, str]]] = {}
    for pair, (o, n) in zip(names, numbers, strict=True):
        fixed = (
            tuple(o[i] for i in olds if i not in same.values()),
            tuple(n[j] for j in news if j not in same),
        )
        groups.setdefault(fixed, []).append(pair)
    order = sorted(set(same.values()))
    for group in groups.values():
        old_name, new_name = group[0]
        old = _replaced(re.escape(old_name), dict.fromkeys(order, r"(\d+)"))
        new = _replaced(
            new_name.replace("\\", r"\\"), {j: rf"\{order.index(i) + 1}" for j, i in same.items()}
        )
        inputs, outputs = zip(*group, strict=True)
        yield _Pair(tuple(old.split(r"\.")), tuple(new.split(".")), inputs, outputs, whole)


def _replaced(name: str, by_index: Mapping[int, str]) -> str:
    counter = itertools.count()
    return re.sub(r"\d+", lambda match: by_index.get(next(counter), match[0]), name)


def _shortened(pairs: Iterable[_Pair]) -> list[_Pair]:
    """Pairs of whole subtrees in place of those of their layers, where these agree."""
    by_old: dict[tuple[str, ...], list[tuple[_Pair, _Pair]]] = {}
    for pair in pairs:
        short = _shorter(pair)
        by_old.setdefault(short.old, []).append((short, pair))
    found: list[_Pair] = []
    for group in by_old.values():
        if len({short.regex for short, _ in group}) > 1:
            found += [pair for _, pair in group]
        else:
            inputs, outputs = (
                [n for _, pair in group for n in getattr(pair, side)] for side in ("inputs", "outputs")
            )
            found.append(replace(group[0][0], inputs=tuple(inputs), outputs=tuple(outputs)))
    return found


def _shorter(pair: _Pair) -> _Pair:
    """The pair without the last parts that both sides have in common."""
    while len(pair.old) > 1 and pair.new:
        before = sum(part.count("(") for part in pair.old[:-1])
        same = pair.old[-1]
        for index in range(before + 1, before + 1 + same.count("(")):
            same = same.replace(r"(\d+)", f"\\{index}", 1)
        rest = pair.new[:-1]
        repeated = any(int(index) > before for index in re.findall(r"\\(\d+)", ".".join(rest)))
        if pair.new[-1] != same.replace("\\-", "-") or repeated:
            break
        pair = replace(pair, old=pair.old[:-1], new=rest, whole=True)
    return pair


def _ordered(pairs: Sequence[_Pair]) -> list[_Pair]:
    """So that no pair changes what another one has made, and narrow pairs come before wide ones."""
    before: dict[_Pair, set[_Pair]] = {pair: set() for pair in pairs}
    for one, other in itertools.permutations(pairs, 2):
        narrower = len(other.old) > len(one.old) and one.changes(_dotted(other.inputs))
        if narrower or other.changes(_dotted(one.outputs)):
            before[one].add(other)
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:  # names that change places
        return list(pairs)


def _dotted(names: Iterable[str]) -> Iterator[str]:
    return itertools.chain.from_iterable((name, name + ".") for name in names)


def _rules(found: Alignment) -> list[Rule]:
    rules: list[Rule] = []
    for make, joined in ((Fuse, found.fused), (Split, found.split)):
        stacks: dict[str, list[tuple[Layer, ...]]] = {}
        for whole, parts in joined:
            stacks.setdefault(whole.stack, []).append((whole, *parts))
        for stack in stacks.values():
            alike = len(stack) > 1 and all(
                layer.indices == each[0].indices for each in stack for layer in each
            )
            for each in stack[:1] if alike else stack:
                names = [layer.stack if alike else layer.name for layer in each]
                leaves = [[leaf for leaf, _ in same_leaves(each[0], layer)] for layer in each]
                if all(leaf == leaves[0] for leaf in leaves):
                    leaves = [["*"]] * len(each)
                for ends in zip(*leaves, strict=True):
                    tensor, *others = map(_join, names, ends)
                    rules.append(make(tensor, tuple(others)))
    return rules


def _doubts(found: Alignment, rules: Sequence[Rule]) -> Iterator[str]:
    if found.doubtful:
        shown = ", ".join(list(found.doubtful)[:5]) + (" ..." if len(found.doubtful) > 5 else "")
        yield f"shapes do not tell these layers apart, their order was taken: {shown}"
    if found.resized:
        yield f"these layers have another number of rows there: {', '.join(found.resized)}"
    if rules:
        yield "shapes do not show in which order a rule joins its parts"


def _shown(item: tuple[str, str] | Rule) -> str:
    return f"(r{item[0]!r}, r{item[1]!r})".replace("\\\\", "\\") if isinstance(item, tuple) else repr(item)
