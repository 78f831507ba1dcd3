"""Which entry of the manifest a checkpoint is for."""

import inspect
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
from converters.inspection import Inspection
from converters.linen import inspect_module
from converters.matching import Fit, NamesAndRules, best_fit, fewest_problems
from converters.tensors import Tensors, aliases_of
from zoo._errors import ZooError
from zoo._hub.checksum import checksum_of
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._registry import families, manifest
from zoo._registry.entry import UNATTESTED, Entry, Input
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
    layouts: tuple[NamesAndRules, ...]
    allowed: tuple[str, ...] = ()  # tensors that the family's files may hold besides

    def fit(
        self, tensors: Tensors, ignore: Sequence[str] = (), missing: Sequence[str] = ()
    ) -> tuple[Fit, NamesAndRules]:
        """The layout that leaves the fewest problems."""
        allowed = [*ignore, *self.allowed]
        names, fit = fewest_problems(
            self.layouts, lambda names: best_fit(self.inspection, tensors, names, (), allowed, missing)
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
    )


@lru_cache(maxsize=64)
def _inspected(module: nn.Module, inputs: tuple[Input, ...]) -> Inspection:
    """Returns the layers of a module; tagged entries share one, and so do files one after the other."""
    return inspect_module(module, *(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in inputs))


def recognize(
    tensors: Tensors, *, names: NamesAndRules | None = None, ignore: Sequence[str] = ()
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
        tried.append(_try(tensors, entries, names, ignore))
    right = [each for each in tried if not each.fit.problems]
    if not right:
        heads = (_try(tensors, entries, names, ignore, found) for entries, found in _other_heads(tensors))
        right = [each for each in heads if not each.fit.problems]
    if len(right) == 1:
        return right[0].chosen(tensors), right[0].fit
    if right:
        alike = ", ".join(entry.name for each in right for entry in each.entries)
        raise ZooError(f"the checkpoint fits {alike} alike; choose one with --model.")
    text = f"no entry of the manifest fits these {len(tensors)} tensors"
    nearest = min(tried, key=lambda each: len(each.fit.problems), default=None)
    # Where most tensors do not fit, it has nothing to do with them.
    if nearest and 2 * len(nearest.fit.problems) <= len(tensors):
        name = nearest.entries[0].name
        text += f"; {name!r} is nearest: `--model {name}` lists {len(nearest.fit.problems)} problems"
    raise ZooError(f"{text}; choose an entry with --model, or a module of your own with --module.")


@dataclass(frozen=True, kw_only=True)
class _Try:
    """A module that was tried, for the entries that it is of."""

    entries: list[Entry]
    target: Target
    fit: Fit

    @property
    def count(self) -> int:
        return self.entries[0].num_params

    def chosen(self, tensors: Tensors) -> Target:
        """Returns the target with the entry whose weights the file is, or what all of the entries share."""
        if len(self.entries) == 1:
            return self.target
        for entry in self.entries:
            if entry.weights and entry.weights.sha256 != UNATTESTED:
                digest = _digest(tensors)
                if digest and digest.startswith(entry.weights.sha256):
                    return replace(self.target, entry=entry)
        plain = min(self.entries, key=lambda entry: len(entry.name))
        shared = {
            field: getattr(self.target.entry, field)
            for field in ("preprocess", "classes")
            if len({getattr(entry, field) for entry in self.entries}) == 1
        }
        unknown = {"preprocess": None, "classes": None, **shared}
        return replace(self.target, entry=replace(self.target.entry, name=plain.name, **unknown))


def _try(
    tensors: Tensors,
    entries: list[Entry],
    names: NamesAndRules | None,
    ignore: Sequence[str],
    config: Mapping[str, Any] = MappingProxyType({}),
) -> _Try:
    found = target(entries[0], names=names, config=config)
    return _Try(entries=entries, target=found, fit=found.fit(tensors, ignore)[0])


def _digest(tensors: Tensors) -> str:
    """Returns the hash of the file that the tensors are in; empty where it is not one."""
    files = tensors.files() if isinstance(tensors, Checkpoint) and not tensors.in_memory else []
    return checksum_of(files[0].path).digest if len(files) == 1 else ""


def _other_heads(tensors: Tensors) -> Iterator[tuple[list[Entry], dict[str, int]]]:
    """Yields the entries that the tensors fit in number but for a head of other classes, which is found."""
    count = _num_params(tensors)
    for entries in _groups(manifest.read().models.values()):
        for classes, width, layers in _head_sizes(str(entries[0].family), tensors):
            own = entries[0].config.get("num_classes", _usual_classes(str(entries[0].family)))
            others = entries[0].num_params + layers * (classes - own) * (width + 1)
            if own and own != classes and others == count:
                yield entries, {"num_classes": classes}


def _head_sizes(family: str, tensors: Tensors) -> Iterator[tuple[int, int, int]]:
    """Yields the classes, inputs and number of dense layers of a family's head, in each of its layouts."""
    known = families.named(family)
    for names in (*known.torch_names.values(), ()) if known else ():
        shapes = []
        for layer in known.head if known else ():
            name = f"{layer}.weight"
            for pair in names:
                name = re.sub(*pair, name) if isinstance(pair, tuple) else name
            shapes += [
                shape
                for other, shape in tensors.shapes.items()
                if (other == name or other.endswith(f".{name}")) and len(shape) == 2
            ]
        if len({*shapes}) == 1:
            yield (*shapes[0], len(shapes))
            return


def _usual_classes(family: str) -> int:
    known = families.named(family)
    parameter = inspect.signature(known.create).parameters.get("num_classes") if known else None
    return int(parameter.default) if parameter else 0


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
        if entry.num_params <= total <= MOST * entry.num_params + total - count
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
    return sum(
        math.prod(shape)
        for name, shape in tensors.shapes.items()
        if name not in aliases and not BUFFERS.fullmatch(name)
    )
