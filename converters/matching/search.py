"""Searches the fit of a state dict and a module that leaves the fewest problems."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import flax.linen as nn

from converters.errors import ConversionError
from converters.formats.tensor_names import are_flax
from converters.inspection import Inspection, Path
from converters.matching.adapters import refusal
from converters.matching.arguments import check_names, check_rules
from converters.matching.draft import make_draft, with_rules
from converters.matching.effective import effective
from converters.matching.fit import Fit, fit_links
from converters.matching.flax_files import AsTorch, fit_variables
from converters.matching.links import Link, Names, make_links
from converters.matching.parametrizations import computed_weights
from converters.matching.rules import Rule
from converters.matching.suggest import reshaping_rules, with_flattened
from converters.tensors import Tensors

T = TypeVar("T")

SHOWN = 20  # problems with arrays of Flax
MAX_PREFIX = 3  # module._orig_mod.model. is the longest that training frameworks stack up


NamesAndRules = Sequence[tuple[str, str] | Rule]


def conversion_error(misfit: Fit, module: nn.Module, attempt: Callable[[Any], Fit]) -> ConversionError:
    """The error that says what does not fit, and offers names and rules with which it perhaps does."""
    if are_flax(misfit.tensors):
        more = [f"  {len(misfit.problems) - SHOWN} more"] if len(misfit.problems) > SHOWN else []
        lines = [f"  {problem}" for problem in misfit.problems[:SHOWN]]
        text = f"it holds Flax variables already, which are not those of {type(module).__name__}:"
        return ConversionError("\n".join([text, *lines, *more]))
    unmerged = refusal(misfit.left_over)
    if unmerged:  # a draft would rename the weights and drop what is added to them
        return ConversionError(unmerged)
    text = misfit.explanation(type(module).__name__)
    found = make_draft(misfit, attempt)
    near = attempt(found.names) if found else misfit
    found = with_rules(found, misfit, (*reshaping_rules(near), *near.advice), attempt)
    return ConversionError(f"{text}\n{found}", found.names) if found else ConversionError(text)


def best_fit(
    inspection: Inspection,
    tensors: Tensors,
    names: NamesAndRules,
    rules: Sequence[Rule],
    ignore: Sequence[str],
    missing: Sequence[str] = (),
) -> Fit:
    """The fit with the shortest prefix that leaves no problem, else the one with the fewest.

    Weights that PyTorch computes from other tensors are computed, unless the module asks for these. Arrays of
    Flax go by their paths or, with Flax's names for layers, as the tensors of PyTorch's layers.
    """
    if are_flax(tensors):
        own = fit_variables(inspection, tensors, ignore, missing)
        if not own.problems or not names:
            return own
        other = best_fit(inspection, AsTorch(tensors), names, rules, ignore, missing)
        return own if len(own.problems) <= len(other.problems) else other

    def fit_to(tensors: Tensors) -> Fit:
        def attempt(prefix: str) -> Fit:
            available = {name.removeprefix(prefix) for name in tensors}
            links = links_after_rules(inspection, names, rules, available)
            links = _once(links, inspection.same, available)
            return fit_links(links, tensors, prefix, ignore, missing)

        return fewest_problems(_prefixes(list(tensors)), attempt)[1]

    fit = fit_to(tensors)
    computed = list(computed_weights(tensors, transposed=_has_transposed(inspection)))
    seen = effective(tensors, computed, fit) if computed else None
    fit = fit if seen is None else fit_to(seen)
    return fit if fit.problems else with_flattened(fit, inspection.flattened())


def _once(links: list[Link], same: Mapping[Path, Path], available: Container[str]) -> list[Link]:
    """Returns the links without those of shared arrays that a file has under another name only."""
    if not same:
        return links
    groups: dict[tuple[Path, ...], list[Link]] = {}
    for link in links:
        groups.setdefault(tuple(same.get(a.path, a.path) for a in link.arrays), []).append(link)
    kept = []
    for group in groups.values():
        kept += [link for link in group if all(name in available for name in link.tensors)] or group[:1]
    return kept


def _has_transposed(inspection: Inspection) -> bool:
    classes = {kind for layer in inspection.layers.values() for kind in type(layer).__mro__}
    return any("Transpose" in kind.__name__ for kind in classes)


def fewest_problems(candidates: Iterable[T], attempt: Callable[[T], Fit]) -> tuple[T, Fit]:
    """Returns the first candidate that fits without a problem, else the one with the fewest, and its fit."""
    fits: list[tuple[T, Fit]] = []
    for candidate in candidates:
        fits.append((candidate, attempt(candidate)))
        if not fits[-1][1].problems:
            return fits[-1]
    return min(fits, key=lambda each: len(each[1].problems))


def _separate(names: NamesAndRules, rules: Sequence[Rule]) -> tuple[Names, Sequence[Rule]]:
    check_names(names)
    check_rules(rules)
    pairs = [name for name in names if isinstance(name, tuple)]
    return pairs, [*(rule for rule in names if not isinstance(rule, tuple)), *rules]


def links_after_rules(
    inspection: Inspection, names: NamesAndRules, rules: Sequence[Rule], available: set[str] | None = None
) -> list[Link]:
    """Returns a module's links to the names that the state dict has; `available` are those that it has."""
    pairs, rules = _separate(names, rules)
    if available is not None:
        for rule in reversed(rules):
            available = rule.expand(available)
    found = make_links(inspection, pairs, available)
    for rule in rules:
        found = rule.rewrite(found)
    return found


def _prefixes(names: Sequence[str]) -> list[str]:
    """Returns the prefixes that all names share, dot by dot; the empty one first."""
    prefixes = [""]
    while names and len(prefixes) <= MAX_PREFIX:
        rest = {name.removeprefix(prefixes[-1]).partition(".")[::2] for name in names}
        first = {head for head, _ in rest}
        if len(first) > 1 or any(not tail for _, tail in rest):
            break
        prefixes.append(f"{prefixes[-1]}{first.pop()}.")
    return prefixes
