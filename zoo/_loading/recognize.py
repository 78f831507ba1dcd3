"""Which entry of the manifest a checkpoint is for."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax

from converters.inspection import Inspection
from converters.linen import inspect_module
from converters.matching import Fit, NamesAndRules, best_fit, fewest_problems
from converters.tensors import Tensors, aliases_of
from zoo._errors import ZooError
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._registry import families, manifest
from zoo._registry.entry import Entry
from zoo._variables import init

# Tensors of PyTorch's that are no parameters.
BUFFERS = re.compile(r"(.*\.)?(running_mean|running_var|num_batches_tracked|position_ids|masked_bias)")
# A file can hold twice the parameters: tied ones once more, two biases for one, masks.
MOST = 2


@dataclass(frozen=True)
class Target:
    """A module that a checkpoint may be for, and the names by which it may be kept."""

    entry: Entry
    module: nn.Module
    inspection: Inspection
    conventions: tuple[NamesAndRules, ...]
    allowed: tuple[str, ...] = ()  # tensors that the family's files may hold besides

    def fit(
        self, tensors: Tensors, ignore: Sequence[str] = (), missing: Sequence[str] = ()
    ) -> tuple[Fit, NamesAndRules]:
        """The convention that leaves the fewest problems."""
        allowed = [*ignore, *self.allowed]
        names, fit = fewest_problems(
            self.conventions, lambda names: best_fit(self.inspection, tensors, names, (), allowed, missing)
        )
        return fit, names


def target(
    entry: Entry,
    *,
    module: nn.Module | None = None,
    inputs: Sequence[Any] = (),
    names: NamesAndRules | None = None,
    config: Mapping[str, Any] = MappingProxyType({}),
) -> Target:
    """Inspects an entry's module, or one's own.

    Args:
        entry: The entry.
        module: A module of your own, instead of the family's.
        inputs: Arrays or shapes for it, instead of the entry's.
        names: Names pairs and rules, instead of the family's conventions.
        config: Keywords of the family's `create` that differ from the entry's.
    """
    built, described = build(entry, module=module, config=config)
    conventions: tuple[NamesAndRules, ...] = () if names is None else (names,)
    if names is None:
        conventions = ((), *(families.torch_names(entry).values() if module is None else ()))
    shapes = inputs or [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in described.inputs]
    allowed = layouts.allowed_names(entry) if module is None else ()
    return Target(described, built, inspect_module(built, *shapes), conventions, allowed)


def recognize(
    tensors: Tensors, *, names: NamesAndRules | None = None, ignore: Sequence[str] = ()
) -> tuple[Target, Fit]:
    """The entry's module that the tensors fit, by names and shapes.

    Raises:
        ZooError: none fits, or several do.
    """
    fits: list[tuple[Target, Fit, list[str]]] = []
    for entries in _candidates(tensors):
        # Other numbers of parameters come later: they fit only if something is kept twice.
        if any(
            not fit.problems and found.entry.num_params != entries[0].num_params for found, fit, _ in fits
        ):
            break
        found = target(entries[0], names=names)
        fits.append((found, found.fit(tensors, ignore)[0], [entry.name for entry in entries]))
    right = [each for each in fits if not each[1].problems]
    alike = [name for *_, names_of in right for name in names_of]
    if len(alike) == 1:
        return right[0][:2]
    if alike:
        raise ZooError(f"the checkpoint fits {', '.join(alike)} alike; choose one with --model.")
    text = f"no entry of the manifest fits these {len(tensors)} tensors"
    _, nearest, names_of = min(fits, key=lambda each: len(each[1].problems), default=(None, None, []))
    # With as many problems as tensors, it has nothing to do with them.
    if nearest and len(nearest.problems) < len(tensors):
        text += (
            f"; {names_of[0]!r} is nearest: `--model {names_of[0]}` lists {len(nearest.problems)} problems"
        )
    raise ZooError(f"{text}; choose an entry with --model, or a module of your own with --module.")


def similar_entry(tensors: Tensors) -> str | None:
    """The name of an entry that the tensors fit, where its number of parameters tells it."""
    count = _num_params(tensors)
    for entries in _candidates(tensors):
        if entries[0].num_params == count and not target(entries[0]).fit(tensors)[0].problems:
            return entries[0].name
    return None


def _candidates(tensors: Tensors) -> Iterator[list[Entry]]:
    """Entries with about as many parameters, the nearest first; those of equal modules together."""
    count, total = _num_params(tensors), sum(map(math.prod, tensors.shapes.values()))
    groups: dict[Any, list[Entry]] = {}
    for entry in manifest.read().models.values():
        if entry.num_params <= total <= MOST * entry.num_params + total - count:
            groups.setdefault((entry.family, entry.config), []).append(entry)
    yield from sorted(groups.values(), key=lambda entries: abs(entries[0].num_params - count))


def entry_of_variables(arrays: Tensors) -> Entry:
    """The entry whose Flax variables have these paths and shapes.

    Raises:
        ZooError: there is none, or there are several.
    """
    count = sum(math.prod(shape) for path, shape in arrays.shapes.items() if path.startswith("params/"))
    found = []
    for entry in manifest.read().models.values():
        if entry.num_params == count:
            module, _ = build(entry)
            owned = {path: leaf.shape for path, leaf in init.shapes(module, entry.inputs).items()}
            found += [entry] if owned == arrays.shapes else []
    if len(found) == 1:
        return found[0]
    names = ", ".join(entry.name for entry in found) or "no entry of the manifest"
    raise ZooError(f"{names} has these paths and shapes; a directory that zoo convert wrote says what it is.")


def _num_params(tensors: Tensors) -> int:
    aliases = aliases_of(tensors)
    return sum(
        math.prod(shape)
        for name, shape in tensors.shapes.items()
        if name not in aliases and not BUFFERS.fullmatch(name)
    )
