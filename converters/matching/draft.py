"""A draft of the names pairs and rules that a misfit seems to lack; for its user to check."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from converters.errors import ConversionError
from converters.layers import Shape
from converters.matching.arrays import dtype_kind
from converters.matching.fit import Fit
from converters.matching.grouping import Layer, joined, layers, same_leaves, shown, template
from converters.matching.guess import Alignment, guess_pairs
from converters.matching.links import in_order
from converters.matching.patterns import write_pairs
from converters.matching.rules import Fuse, Rule, Split, Unflatten
from converters.tensors import aliases_of

NamesAndRules = tuple[tuple[str, str] | Rule, ...]
MAX_LINES = 30
MAX_REMAINING = 5
COMPARE = (
    "`converters.compare(torch_module, module, variables, inputs, names=...)` shows whether that is right"
)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Names and rules, the problems that they leave, and what in them is a guess."""

    names: NamesAndRules
    problems: Sequence[str]
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        count = f"{len(self.problems)} problem{'s' * (len(self.problems) > 1)}"
        state = f"{count} remain{'s' * (len(self.problems) == 1)}" if self.problems else "all fits"
        lines = [f"a draft of names= with which {state}; check it before you use it:"]
        lines.append(written(self.names))
        if self.problems:
            lines.append("what remains:")
            lines += [f"  {problem}" for problem in self.problems[:MAX_REMAINING]]
            if len(self.problems) > MAX_REMAINING:
                lines.append(f"  ... and {len(self.problems) - MAX_REMAINING} more")
        return "\n".join([*lines, *self.doubts])


def written(names: NamesAndRules) -> str:
    """Returns lines of names pairs and rules, as in Python."""
    lines = [f"  {_shown(item)}," for item in names[:MAX_LINES]]
    if len(names) > MAX_LINES:
        lines.append(f"  ... and {len(names) - MAX_LINES} more, in the error's attribute `draft`")
    return "\n".join(lines)


def with_rules(
    draft: Draft | None, misfit: Fit, rules: Sequence[Rule], attempt: Callable[[NamesAndRules], Fit]
) -> Draft | None:
    """Returns a draft with more rules, or one of these alone; None if there are none that fit."""
    names: NamesAndRules = (*(draft.names if draft else ()), *rules)
    try:
        fit = attempt(names) if rules else misfit
    except ConversionError:
        fit = misfit
    if fit is misfit:
        return draft
    kinds = " and ".join(sorted({type(rule).__name__ for rule in rules}))
    doubts = [*(draft.doubts if draft else ()), f"shapes do not show that the numbers are meant so: {kinds}"]
    if any(isinstance(rule, Unflatten) for rule in rules):
        doubts.append("where the file was trained with the channels last, it is Keep instead of Unflatten")
    return Draft(names=names, problems=fit.problems, doubts=tuple(doubts))


def make_draft(misfit: Fit, attempt: Callable[[NamesAndRules], Fit]) -> Draft | None:
    """Returns pairs and rules with which fewer problems remain, or None.

    A draft has been applied: it makes exactly the pairs of layers that were guessed, and its problems are
    those that remain.

    Args:
        misfit: Problems that the error lists.
        attempt: Fits again, with names and rules added.
    """
    best: Draft | None = None
    # A file may hold one tensor under several names, of which a module needs one, or each.
    for alike in (False, True) if aliases_of(misfit.tensors) else (True,):
        ours, theirs, settled = _strangers(misfit, alike=alike)
        found = guess_pairs(ours, theirs)
        draft = _applied(misfit, found, settled, attempt)
        if draft and (best is None or len(draft.problems) < len(best.problems)):
            best = draft
    return best


def _applied(
    misfit: Fit, found: Alignment, settled: Sequence[str], attempt: Callable[[NamesAndRules], Fit]
) -> Draft | None:
    """Returns the shortest way to write an alignment that makes what it says and leaves fewer problems."""
    rules = _rules(found)
    joins = [layer for _, parts in found.fused for layer in parts] + [whole for whole, _ in found.split]
    others = [*settled, *(tensor for layer in joins for tensor in layer.tensors)]
    for pairs in write_pairs(found.pairs, others):
        names: NamesAndRules = (*pairs, *rules)
        if not names:
            return None
        try:
            fit = attempt(names)
        except ConversionError:
            continue
        if len(fit.problems) < len(misfit.problems) and _as_guessed(misfit, fit, found):
            return Draft(names=names, problems=fit.problems, doubts=tuple(_doubts(found, rules)))
    return None


def _as_guessed(misfit: Fit, fit: Fit, found: Alignment) -> bool:
    """Returns whether every layer of the module has the tensors that were guessed to be its own."""
    cut = len(misfit.prefix)
    wanted = {
        joined(our.name, old): misfit.prefix + joined(their.name, new)
        for our, their in found.pairs
        for old, new in same_leaves(our, their)
    }
    made = {link.arrays: link.tensors for link in fit.links}
    for link in misfit.links:
        expected = tuple(wanted.get(name[cut:]) for name in link.tensors)
        if link.arrays in made and None not in expected and made[link.arrays] != expected:
            return False
    return True


def _strangers(misfit: Fit, *, alike: bool) -> tuple[list[Layer], list[Layer], list[str]]:
    """Returns the layers that have no counterpart yet, of the module and of the checkpoint, and other names.

    Of numbered layers all or none: where layers.1 is missing, layers.2 may not be the checkpoint's layers.2.

    Args:
        misfit: Problems that the error lists.
        alike: If true, a tensor counts again under each of its other names.
    """
    cut = len(misfit.prefix)
    shapes: dict[str, Shape] = {}
    kinds = set()
    for link in misfit.links:
        kinds |= {dtype_kind(array.dtype) for array in link.arrays}
        shapes |= {n: s for n, s in zip(link.tensors, link.shapes, strict=True) if s is not None}
    wanted = {name[cut:]: shapes[name] for name in in_order(misfit.links) if name in shapes}
    aliases = aliases_of(misfit.tensors)
    there = {name[cut:]: misfit.tensors.shapes[name] for name in misfit.tensors}
    bad = {template(name) for name, shape in wanted.items() if there.get(name) != shape}
    settled = {name for name in wanted if template(name) not in bad}
    known = {aliases.get(misfit.prefix + name, misfit.prefix + name) for name in settled}
    candidates = {
        name[cut:]: misfit.tensors.shapes[name]
        for name in misfit.tensors
        if name[cut:] not in settled
        and name not in misfit.ignored
        and dtype_kind(misfit.tensors.dtypes[name]) in kinds
        and (alike or (name not in aliases and name not in known))
    }
    return (
        layers({name: shape for name, shape in wanted.items() if name not in settled}),
        layers(candidates),
        [name for name in wanted if name in settled],
    )


def _rules(found: Alignment) -> list[Rule]:
    rules: list[Rule] = []
    for make, joins in ((Fuse, found.fused), (Split, found.split)):
        stacks: dict[str, list[tuple[Layer, ...]]] = {}
        for whole, parts in joins:
            stacks.setdefault(whole.stack, []).append((whole, *parts))
        for stack in stacks.values():
            alike = len(stack) > 1 and all(x.indices == each[0].indices for each in stack for x in each)
            for each in stack[:1] if alike else stack:
                names = [layer.stack if alike else layer.name for layer in each]
                rules += [make(tensor, tuple(others)) for tensor, *others in _ends(names, each)]
    return rules


def _ends(names: Sequence[str], layers: Sequence[Layer]) -> Iterator[list[str]]:
    """Yields the names of the layers' tensors, those that go together; with a star if all have the same."""
    leaves = [[leaf for _, leaf in same_leaves(layers[0], layer)] for layer in layers]
    if all(leaf == leaves[0] for leaf in leaves):
        leaves = [["*"]] * len(layers)
    for ends in zip(*leaves, strict=True):
        yield [joined(name, end) for name, end in zip(names, ends, strict=True)]


def _doubts(found: Alignment, rules: Sequence[Rule]) -> Iterator[str]:
    ours = [our for our, _ in found.pairs]
    if found.doubtful:
        names = shown(found.doubtful, ours)
        yield f"shapes do not tell these layers apart, their order was taken: {names}; {COMPARE}"
    if found.partial:
        names = shown(found.partial, ours)
        yield f"these layers have other tensors there, such as no bias, and their order was taken: {names}"
    if found.resized:
        yield f"these layers have another number of rows there: {shown(found.resized, ours)}"
    if rules:
        yield "shapes do not show in which order a rule joins its parts"


def _shown(item: tuple[str, str] | Rule) -> str:
    if isinstance(item, tuple):
        return f"(r{item[0]!r}, r{item[1]!r})".replace("\\\\", "\\")
    return f"converters.{item!r}"
