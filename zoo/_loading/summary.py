"""Layers and preprocessing of a model, as `zoo info` and model cards show them."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from zoo._loading import weights
from zoo._loading.located import Located
from zoo._loading.resolve import shapes_of
from zoo._registry.entry import Digits, Preprocess, fields_of


class Layer(NamedTuple):
    """A layer that owns arrays: its path, their names and shapes, and how many numbers they hold."""

    layer: str
    arrays: str
    numbers: int


def preprocessing(how: Preprocess) -> str:
    """Returns how pictures become inputs, in words."""
    if isinstance(how, Digits):
        return f"grey, {how.ink} ink, pixels in [0, 1]"
    return ", ".join(f"{name} {_value(value)}" for name, value in fields_of(how).items())


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def arrays_of(located: Located) -> Mapping[str, Any]:
    """Returns the arrays of a model by path; only their shapes where its family makes the module."""
    return weights.read(located) if located.entry.family is None else shapes_of(located.entry)


def layers(arrays: Mapping[str, Any]) -> list[Layer]:
    """Lists each layer that owns arrays; the model itself is "(top)"."""
    grouped: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for path, array in arrays.items():
        layer, _, name = path.removeprefix("params/").rpartition("/")
        grouped.setdefault(layer or "(top)", []).append((name, array.shape))
    return [
        Layer(
            layer,
            ", ".join(f"{name} {shape}" for name, shape in owned),
            sum(math.prod(shape) for _, shape in owned),
        )
        for layer, owned in grouped.items()
    ]
