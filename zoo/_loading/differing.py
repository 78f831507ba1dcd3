"""Differences of a PyTorch checkpoint from an entry that its tensors tell: classes, channels of images."""

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from converters.matching import NamesAndRules
from converters.tensors import Tensors
from zoo._registry import families
from zoo._registry.entry import Entry
from zoo._registry.family import Family

# Field of the contract that names layers -> the keyword of `create` that their kernels show, the kernels'
# number of axes, that of the keyword, and the arrays beside the kernel that have it, too.
SHOWN = {"head": ("num_classes", 2, 0, 1), "stem": ("in_channels", 4, 1, 0)}


def differing(entry: Entry, tensors: Tensors) -> tuple[Mapping[str, Any], int]:
    """Returns the config of an entry's architecture that a checkpoint's head and stem have otherwise.

    Returns:
        Keywords of `create`, and the number of parameters that the architecture has with them.
    """
    config, count, family = dict[str, Any](), entry.num_params, families.named(entry.family)
    if family is None:
        return config, count
    for field, (keyword, ndim, axis, beside) in SHOWN.items():
        kernels = _kernels(family, getattr(family, field), tensors)
        own = entry.config.get(keyword, _default(family, keyword))
        if not own or len({*kernels}) != 1 or len(kernels[0]) != ndim or kernels[0][axis] == own:
            continue
        config[keyword] = kernels[0][axis]
        others = math.prod(kernels[0]) // kernels[0][axis] + beside
        count += (config[keyword] - own) * others * len(kernels)
    return config, count


def _kernels(family: Family, layers: tuple[str, ...], tensors: Tensors) -> list[tuple[int, ...]]:
    """Returns the shapes of the layers' kernels, by the first of the family's layouts that has any."""
    prefixes = {"", _prefix(tensors)}
    for names in (*family.torch_names.values(), ()):
        full = {f"{prefix}{name}" for prefix in prefixes for name in _named(layers, names)}
        if found := [tensors.shapes[name] for name in sorted(full & tensors.shapes.keys())]:
            return found
    return []


def _prefix(tensors: Tensors) -> str:
    """Returns what all names begin with, such as `module.`."""
    first, last = (each(tensors.shapes, default="").split(".") for each in (min, max))
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{part}." for part, _ in same)


def _named(layers: tuple[str, ...], names: NamesAndRules) -> Iterator[str]:
    """Yields the names of the layers' kernels in files of a layout."""
    for layer in layers:
        name = re.sub(r"_([0-9]+)$", r".\1", layer) + ".weight"  # of an attribute that is a list
        for pair in names:
            name = re.sub(pair[0], pair[1], name) if isinstance(pair, tuple) else name
        yield name


def _default(family: Family, keyword: str) -> Any:
    parameter = inspect.signature(family.create).parameters.get(keyword)
    return parameter.default if parameter else None
