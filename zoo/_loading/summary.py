"""The tables of `zoo info`."""

import math
from collections.abc import Mapping
from typing import Any

from zoo._loading import weights
from zoo._loading.located import Located
from zoo._loading.resolve import shapes_of
from zoo._registry.entry import Digits, Entry, Preprocess


def fields(entry: Entry) -> list[tuple[str, str]]:
    """The entry, as names and texts."""
    weights, preprocess = entry.weights, entry.preprocess
    inputs = (f"{each.name} {each.shape} {each.dtype}" for each in entry.inputs)
    texts = {
        "name": entry.name,
        "family": entry.family,
        "config": _pairs(entry.config) or "the family's defaults",
        "inputs": ", ".join(inputs),
        "parameters": f"{entry.num_params:,}",
        "weights": str(weights or "none: zoo.load initialises it"),
        "sha256": weights and weights.sha256,
        "bytes": weights and weights.size and f"{weights.size:,}",
        "layout": entry.layout,
        "license": entry.license,
        "source": entry.source,
        "paper": entry.paper,
        "metrics": _pairs(entry.metrics),
        "preprocess": preprocess and _preprocess(preprocess),
        "classes": entry.classes and f"{entry.classes}: {', '.join(entry.class_names[:3])}, ...",
    }
    return [(name, text) for name, text in texts.items() if text]


def _preprocess(how: Preprocess) -> str:
    return f"grey, {how.ink} ink, pixels in [0, 1]" if isinstance(how, Digits) else _pairs(vars(how))


def _pairs(mapping: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in mapping.items())


def arrays_of(located: Located) -> Mapping[str, Any]:
    """Returns the arrays of a model by path; only their shapes where its family makes the module."""
    return weights.read(located) if located.entry.family is None else shapes_of(located.entry)


def layers(arrays: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Lists each layer that owns arrays: its path, its arrays' shapes, and how many numbers they hold."""
    grouped: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for path, array in arrays.items():
        layer, _, name = path.removeprefix("params/").rpartition("/")
        grouped.setdefault(layer, []).append((name, array.shape))
    return [
        (
            layer,
            ", ".join(f"{name} {shape}" for name, shape in owned),
            sum(math.prod(shape) for _, shape in owned),
        )
        for layer, owned in grouped.items()
    ]
