"""Rules that a misfit seems to lack, told by shapes and by how maps are flattened; for its user to check."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from converters.inspection import Flattened
from converters.layers import Shape
from converters.matching.fit import Fit
from converters.matching.links import Link
from converters.matching.rewriting import match_pattern
from converters.matching.rules import Reshape, Rule, Transpose, Unflatten

Reshaping: TypeAlias = Reshape | Transpose

MAX_AXES = 6  # of a tensor whose axes are tried in every order


def with_flattened(fit: Fit, flattened: Iterable[Flattened]) -> Fit:
    """Returns the fit with a problem for each tensor of a flattened map that no rule speaks about."""
    problems: list[str] = []
    rules: dict[Rule, None] = {}
    for layer in flattened:
        for name, shape in _along(fit.links, layer):
            plain = name.removeprefix(fit.prefix)
            whole = shape[layer.axis] == math.prod(layer.shape)
            problems.append(f"flattened  {plain}: {_described(layer, whole=whole)}")
            if whole:
                rules[Unflatten(plain, layer.shape, layer.axis)] = None
    if not problems:
        return fit
    return replace(fit, problems=[*fit.problems, *dict.fromkeys(problems)], advice=tuple(_joined(rules)))


def _along(links: Sequence[Link], layer: Flattened) -> Iterator[tuple[str, Shape]]:
    """Yields the tensors of a layer that have an axis for the flattened values, and that no rule is about."""
    below = len(layer.path)
    for link in links:
        if link.settled or not any(array.path[1 : below + 1] == layer.path for array in link.arrays):
            continue
        for name, shape in zip(link.tensors, link.shapes, strict=True):
            # Of a cell's weights, those for its state have another width.
            if shape and len(shape) > layer.axis and shape[layer.axis] >= math.prod(layer.shape):
                yield name, shape


def _described(layer: Flattened, *, whole: bool) -> str:
    channels, *spatial = layer.shape
    sides = " x ".join(map(str, spatial))
    text = (
        f"{'is for' if layer.axis == 0 else 'reads'} a map of {sides} and {channels} channels, flattened "
        "with the channels last; PyTorch has them first"
    )
    return text if whole else f"{text}, and no rule turns a part of a vector: flatten that way in the module"


def _joined(rules: Iterable[Rule]) -> Iterator[Rule]:
    """Yields one rule for the weight and the bias of a layer."""
    groups: dict[object, list[Unflatten]] = {}
    for rule in rules:
        if isinstance(rule, Unflatten):
            groups.setdefault((rule.tensor.rpartition(".")[0], rule.shape, rule.axis), []).append(rule)
    for group in groups.values():
        layer = group[0].tensor.rpartition(".")[0]
        yield group[0] if len(group) == 1 or not layer else replace(group[0], tensor=f"{layer}.*")


def reshaping_rules(fit: Fit) -> tuple[Rule, ...]:
    """Returns rules with which misshapen tensors fit that have the right numbers of values in their axes."""
    found: dict[str, Reshaping] = {}
    wanted = [name for link in fit.links for name in link.tensors]
    for link in fit.links:
        for name, shape in zip(link.tensors, link.shapes, strict=True):
            theirs = fit.tensors.shapes.get(name)
            if shape is not None and theirs is not None and theirs != shape:
                rule = _rule(name.removeprefix(fit.prefix), theirs, shape)
                if rule:
                    found[name] = rule
    return tuple(_generalized(found, wanted, fit.prefix))


def _rule(name: str, theirs: Shape, ours: Shape) -> Reshaping | None:
    if [size for size in theirs if size != 1] == [size for size in ours if size != 1]:
        return Reshape(
            name, tuple(0 if ours[at : at + 1] == (n,) != (1,) else n for at, n in enumerate(theirs))
        )
    if sorted(theirs) == sorted(ours) and len(theirs) <= MAX_AXES:
        return Transpose(name, _order(theirs, ours))
    return None


def _order(theirs: Shape, ours: Shape) -> tuple[int, ...]:
    """Returns the order of axes that leads there; of several, that of moving the channels last."""
    axes = range(len(theirs))
    usual = [tuple([at for at in axes if at != moved] + [moved]) for moved in (1, 0) if moved < len(theirs)]
    orders = itertools.chain(usual, [tuple(reversed(axes))], itertools.permutations(axes))
    return next(order for order in orders if tuple(theirs[at] for at in order) == ours)


def _generalized(found: Mapping[str, Reshaping], wanted: Sequence[str], prefix: str) -> Iterator[Reshaping]:
    """Yields one rule for tensors whose names differ in a number only, if it is right for all such names."""
    done: set[str] = set()
    for name, rule in found.items():
        if name in done:
            continue
        plain = name.removeprefix(prefix)
        for number in re.finditer(r"\d+", plain):
            pattern = f"{plain[: number.start()]}*{plain[number.end() :]}"
            alike = [each for each in wanted if match_pattern(pattern, each.removeprefix(prefix)) is not None]
            general = replace(rule, tensor=pattern)
            if len(alike) > 1 and all(
                each in found and replace(found[each], tensor=pattern) == general for each in alike
            ):
                done.update(alike)
                yield general
                break
        else:
            yield rule
