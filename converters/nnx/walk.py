"""Walks through an NNX module: its layers and arrays, under the names that linen would give them.

Layers in a list `blocks` are `blocks_0`, `blocks_1`, as in linen: one file of Flax variables serves both.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx

from converters.errors import ConversionError
from converters.inspection import Path

Place = tuple[Any, ...]  # of an array in an `nnx.State`
# What a module holds besides weights: keys of random streams, caches, what was sown.
TRANSIENT = (nnx.RngState, nnx.Cache, nnx.Intermediate)


@dataclass(kw_only=True)
class Walk:
    """The layers and arrays of a module.

    Attributes:
        layers: Modules by path, parents before their children; one that is shared has several paths.
        attributes: Path of a layer -> the attribute of its parent that holds it, dotted in a list or dict.
        arrays: Path of an array -> its `nnx.Variable`, or the array itself where it is in none.
        places: Path of an array -> where it is in the module's state.
        same: Path of an array that an earlier one is -> the earlier one's path.
    """

    layers: dict[Path, nnx.Module] = field(default_factory=dict)
    attributes: dict[Path, str] = field(default_factory=dict)
    arrays: dict[Path, Any] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)
    same: dict[Path, Path] = field(default_factory=dict)


def walk(module: nnx.Module) -> Walk:
    """Returns all of a module, concrete or abstract."""
    found = Walk()
    first: dict[int, Path] = {}
    _module(found, first, module, (), ())
    return found


def layers_of(module: nnx.Module) -> list[nnx.Module]:
    """Returns the modules in a module, and it itself first."""
    return [*walk(module).layers.values()]


def _module(found: Walk, first: dict[int, Path], module: nnx.Module, path: Path, place: Place) -> None:
    if len(path) > 100:
        raise ConversionError(f"the module holds itself, at {'/'.join(path[:4])} ...")
    found.layers[path] = module
    for name, origin, item, below in held(module):
        if isinstance(item, nnx.Module):
            child = (*path, name)
            # torch.nn.Sequential has no attribute between itself and its layers.
            plain = origin.removeprefix("layers.") if isinstance(module, nnx.Sequential) else origin
            if child in found.layers:
                raise ConversionError(f"two layers of the module would be called {'/'.join(child)}")
            found.attributes[child] = plain
            _module(found, first, item, child, (*place, *below))
        elif (isinstance(item, nnx.Variable) and not isinstance(item, TRANSIENT)) or _is_array(item):
            # A parameter in a list or dict has PyTorch's name: no layer is there that could say it.
            own = origin if isinstance(item, nnx.Variable) else name
            _array(found, first, item, (_collection(module, item), *path, own), (*place, *below))


def _array(found: Walk, first: dict[int, Path], item: Any, path: Path, place: Place) -> None:
    found.arrays[path], found.places[path] = item, place
    earlier = first.setdefault(id(item), path)
    if earlier != path:
        found.same[path] = earlier


def held(module: nnx.Module) -> Iterator[tuple[str, str, Any, Place]]:
    """Yields the modules, functions and arrays right below a module.

    Each comes with the name that linen has for it before it, and its attribute, dotted in a list or dict; and
    with its place in the module's state behind it.
    """
    for attribute, value in vars(module).items():
        # In the state of a list, its items have numbers.
        listed = isinstance(module, nnx.List) and attribute.isdecimal()
        yield from _held(value, attribute, attribute, (int(attribute) if listed else attribute,))


def _held(value: Any, name: str, origin: str, place: Place) -> Iterator[tuple[str, str, Any, Place]]:
    if isinstance(value, nnx.Variable) or _is_array(value):
        yield name, origin, value, place
    elif isinstance(value, Mapping | nnx.Dict):
        for key, item in value.items():
            part = "_".join(map(str, key)) if isinstance(key, tuple) else str(key)
            yield from _held(item, f"{name}_{part}", f"{origin}.{part}", (*place, key))
    elif isinstance(value, list | tuple | nnx.List):
        for index, item in enumerate(value):
            yield from _held(item, f"{name}_{index}", f"{origin}.{index}", (*place, index))
    elif isinstance(value, nnx.Module) or callable(value):
        yield name, origin, value, place


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def _collection(module: nnx.Module, item: Any) -> str:
    """Returns linen's name for the collection of a variable: "params", "batch_stats"; "" for a bare array.

    A bare array is a constant of the module, but for the gains of a `WeightNorm`, which NNX keeps so.
    """
    if not isinstance(item, nnx.Variable):
        return "params" if isinstance(module, nnx.WeightNorm) else ""
    for kind in type(item).__mro__:
        if kind in COLLECTIONS:
            return COLLECTIONS[kind]
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(item).__name__).lower()


COLLECTIONS = {nnx.Param: "params", nnx.BatchStat: "batch_stats"}
