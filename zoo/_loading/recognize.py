"""Which entry of the manifest a checkpoint is for."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax

from converters.checkpoints import Checkpoint
from converters.formats import are_flax
from converters.inspection import Inspection
from converters.linen import inspect_module
from converters.matching import Fit, NamesAndRules, best_fit, fewest_problems
from converters.tensors import Tensors, aliases_of
from zoo._errors import ZooError
from zoo._hub.checksum import checksum_of
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._loading.differing import differing
from zoo._loading.layouts import CONSTANTS, NO_LEEWAY, Leeway
from zoo._registry import families, manifest
from zoo._registry.entry import UNATTESTED, Entry, FrozenMapping, Input
from zoo._variables import init

# Tensors of PyTorch's that are no parameters.
BUFFERS = re.compile(
    r"(.*\.)?(running_mean|running_var|num_batches_tracked|position_ids|masked_bias"
    r"|relative_position_index|relative_coords_table|attn_mask|final_logits_bias)"
)
# Layouts whose files hold each parameter once: there are too many models of them to try others, too.
EXACT = re.compile("timm.*")
# A file can hold twice the parameters: tied ones once more, two biases for one, masks.
MOST = 2


@dataclass(frozen=True)
class Target:
    """A module that a checkpoint may be for, and the names by which it may be kept.

    Of a checkpoint that fits, `layouts` are the names that it has, alone.
    """

    entry: Entry
    module: nn.Module
    inspection: Inspection
    layouts: tuple[NamesAndRules, ...]
    allowed: tuple[str, ...] = ()  # tensors that the family's files may hold besides
    config: Mapping[str, Any] = FrozenMapping()  # what differs from the entry of the manifest
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()  # on how pictures become its input

    def fit(
        self, tensors: Tensors, ignore: Sequence[str] = (), missing: Sequence[str] = ()
    ) -> tuple[Fit, NamesAndRules]:
        """The layout that leaves the fewest problems."""
        allowed = [*ignore, *self.allowed]
        names, fit = fewest_problems(
            self.layouts,
            lambda names: best_fit(self.inspection, tensors, names, (), allowed, [*missing, CONSTANTS]),
        )
        return fit, names


def target(
    entry: Entry, *, names: NamesAndRules | None = None, config: Mapping[str, Any] = MappingProxyType({})
) -> Target:
    """Inspects an entry's module.

    Args:
        entry: The entry.
        names: Names pairs and rules, instead of those of the family's layouts.
        config: Keywords of the family's `create` that differ from the entry's.
    """
    built, described = build(entry, config=config)
    return Target(
        entry=described,
        module=built,
        inspection=_inspected(built, described.inputs),
        layouts=((), *families.torch_names(entry).values()) if names is None else (names,),
        allowed=layouts.allowed_names(entry),
        config=FrozenMapping(config),
    )


@lru_cache(maxsize=64)
def _inspected(module: nn.Module, inputs: tuple[Input, ...]) -> Inspection:
    """Returns the layers of a module; tagged entries share one, and so do files one after the other."""
    return inspect_module(module, *(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in inputs))


def recognize(
    tensors: Tensors, *, names: NamesAndRules | None = None, leeway: Leeway = NO_LEEWAY
) -> tuple[Target, Fit]:
    """Returns the module that the tensors fit, by names and shapes, and their fit.

    Entries of one module differ in whose weights they are: the file's hash tells, or the result claims
    nothing of what they differ in. A head for another number of classes is found, too.

    Raises:
        ZooError: none fits, or several modules do.
    """
    tried: list[_Try] = []
    for entries in _candidates(tensors):
        # Other numbers of parameters come later: they fit only if something is kept twice.
        if any(not each.fit.problems and each.count != entries[0].num_params for each in tried):
            break
        tried.append(_try(tensors, entries, names, leeway))
    right = [each for each in tried if not each.fit.problems]
    if not right:
        others = (
            _try(tensors, entries, names, leeway, config) for entries, config in _other_configs(tensors)
        )
        right = [each for each in others if not each.fit.problems]
    # The names of a file are those of its own library, where another's module has the same arrays.
    right = [each for each in right if len(right) == 1 or each.has_own_names(tensors, leeway)] or right
    if len(right) == 1:
        return right[0].chosen(tensors), right[0].fit
    if right:
        alike = ", ".join(entry.name for each in right for entry in each.entries)
        raise ZooError(
            f"the checkpoint fits {alike} alike, which compute differently; choose one with model=."
        )
    text = f"no entry of the manifest fits these {len(tensors)} tensors"
    nearest = min(tried, key=lambda each: len(each.fit.problems), default=None)
    # Where most tensors do not fit, it has nothing to do with them.
    if nearest and 2 * len(nearest.fit.problems) <= len(tensors):
        name, count = nearest.entries[0].name, len(nearest.fit.problems)
        problems = "1 problem" if count == 1 else f"{count} problems"
        raise ZooError(f"{text}; {name!r} is nearest: model={name!r} lists {problems}.")
    raise ZooError(
        f"{text}, nor does any with other classes or channels. The zoo has the families "
        f"{', '.join(families.names())}: choose an entry with model=, or take a module of your own with "
        "converters.convert."
    )


@dataclass(frozen=True, kw_only=True)
class _Try:
    """A module that was tried, for the entries that it is of."""

    entries: list[Entry]
    target: Target
    fit: Fit

    @property
    def count(self) -> int:
        return self.entries[0].num_params

    def has_own_names(self, tensors: Tensors, leeway: Leeway) -> bool:
        """Returns whether the tensors have the names of the layout that one of the entries' files have."""
        own = [
            names
            for entry in self.entries
            for layout, names in families.torch_names(entry).items()
            if entry.layout in (layout, families.ANY)
        ]
        return not replace(self.target, layouts=tuple(own or [()])).fit(tensors, *leeway)[0].problems

    def chosen(self, tensors: Tensors) -> Target:
        """Returns the target with the entry whose weights the file is, or else the plain one, and says so."""
        config = self.target.config
        plain = min(self.entries, key=lambda entry: len(entry.name))
        for entry in self.entries if len(self.entries) > 1 and not config else ():
            if entry.weights and entry.weights.sha256 != UNATTESTED:
                digest = _digest(tensors)
                if digest and digest.startswith(entry.weights.sha256):
                    return replace(
                        self.target, entry=entry, notes=(f"these are the weights of {entry.name!r}",)
                    )
        same = {entry.classes for entry in self.entries} == {plain.classes}
        described = replace(
            self.target.entry,
            name=plain.name,
            preprocess=None if "in_channels" in config else plain.preprocess,
            classes=self.target.entry.classes if same else None,
        )
        doubts = (*_preprocessed(described, self.entries),)
        return replace(self.target, entry=described, notes=(*_said(plain, config),), doubts=doubts)


def _said(entry: Entry, config: Mapping[str, Any]) -> Iterator[str]:
    if config:
        yield f"fits {entry.name!r} with {' and '.join(f'{name}={value}' for name, value in config.items())}"


def _preprocessed(described: Entry, entries: Sequence[Entry]) -> Iterator[str]:
    """Yields a note where entries of the same arrays read pictures otherwise, or nothing says how."""
    others = [entry.name for entry in entries if entry.preprocess not in (None, described.preprocess)]
    if others and described.preprocess is None:
        yield "does not know how pictures become its input; preprocess= says it"
    elif others:
        yield (
            f"takes the preprocessing of {described.name!r}; {', '.join(others)} with the same arrays "
            f"{'have others' if len(others) > 1 else 'has another'}: choose with model= or preprocess="
        )


def adapted(
    tensors: Tensors, entry: Entry, names: NamesAndRules | None, leeway: Leeway, config: Mapping[str, Any]
) -> tuple[Target, Fit] | None:
    """Returns the target and fit of an entry with the classes and channels of the tensors, if it fits."""
    found, _ = differing(entry, tensors)
    if found.keys() <= config.keys():
        return None
    tried = _try(tensors, [entry], names, leeway, {**found, **config})
    return None if tried.fit.problems else (tried.chosen(tensors), tried.fit)


def _try(
    tensors: Tensors,
    entries: list[Entry],
    names: NamesAndRules | None,
    leeway: Leeway,
    config: Mapping[str, Any] = MappingProxyType({}),
) -> _Try:
    found = target(entries[0], names=names, config=config)
    fit, used = found.fit(tensors, *leeway)
    return _Try(entries=entries, target=replace(found, layouts=(used,)), fit=fit)


def _digest(tensors: Tensors) -> str:
    """Returns the hash of the file that the tensors are in; empty where it is not one."""
    files = tensors.files() if isinstance(tensors, Checkpoint) and not tensors.in_memory else []
    return checksum_of(files[0].path).digest if len(files) == 1 else ""


def _other_configs(tensors: Tensors) -> Iterator[tuple[list[Entry], Mapping[str, Any]]]:
    """Yields the entries that the tensors fit in number but for classes and channels, which they show."""
    count = _num_params(tensors)
    found: dict[Any, tuple[list[Entry], Mapping[str, Any]]] = {}
    for entries in _groups(manifest.read().models.values()):
        first = entries[0]
        config, others = differing(first, tensors)
        if config and others == count:
            # Entries whose classes alone differ are then of one module.
            same = (first.family, FrozenMapping({**first.config, **config}))
            found.setdefault(same, (entries, config))
    yield from found.values()


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
    about = (
        entry
        for entry in manifest.read().models.values()
        if entry.num_params == count
        or (
            entry.num_params <= total <= MOST * entry.num_params + total - count
            and not EXACT.fullmatch(entry.layout or "")
        )
    )
    yield from sorted(_groups(about), key=lambda entries: abs(entries[0].num_params - count))


def _groups(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Returns the entries of equal modules together."""
    groups: dict[Any, list[Entry]] = {}
    for entry in entries:
        if entry.family in families.names():
            groups.setdefault((entry.family, entry.config), []).append(entry)
    return [*groups.values()]


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
    if are_flax(tensors):
        return sum(math.prod(shape) for name, shape in tensors.shapes.items() if name.startswith("params/"))
    return sum(
        math.prod(shape)
        for name, shape in tensors.shapes.items()
        if name not in aliases and not BUFFERS.fullmatch(name)
    )
