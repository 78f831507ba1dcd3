"""Saved blocks for a model that runs them the other way: stacked for a loop, or apart."""

import re
from collections import Counter
from collections.abc import Mapping

import jax

from zoo._variables import lazy


def stack_or_unstack(
    arrays: Mapping[str, lazy.Array], shapes: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, lazy.Array]:
    """Stacks arrays of blocks, or takes them apart, where the model runs its blocks the other way.

    Args:
        arrays: Arrays of a file: `params/h_0/mlp/bias` and so on, or `params/h/mlp/bias`.
        shapes: Shapes of the model's arrays, by path.
    """
    found, taken = dict(arrays), Counter[str]()
    for path, shape in shapes.items():
        if path not in found and any(shape.shape[:1]):
            _stack(found, path, shape.shape)
        if path not in found:
            stacked = _unstack(found, path, shape.shape)
            if stacked:
                taken[stacked] += 1
    return {path: array for path, array in found.items() if not taken[path] or len(array) > taken[path]}


def _stack(found: dict[str, lazy.Array], path: str, shape: tuple[int, ...]) -> None:
    """Replaces the arrays of a list's blocks by a stacked one, if all are there."""
    for slash in re.finditer("/", path):
        names = [f"{path[: slash.start()]}_{index}{path[slash.start() :]}" for index in range(shape[0])]
        if all(name in found and found[name].shape == shape[1:] for name in names):
            found[path] = lazy.stack([found.pop(name) for name in names])
            return


def _unstack(found: dict[str, lazy.Array], path: str, shape: tuple[int, ...]) -> str | None:
    """Adds the array of a list's block if there is a stacked one, and returns the path of that."""
    for number in re.finditer(r"_(\d+)(?=/)", path):
        stacked, index = path[: number.start()] + path[number.end() :], int(number[1])
        if stacked in found and found[stacked].shape[1:] == shape and index < len(found[stacked]):
            found[path] = found[stacked][index]
            return stacked
    return None
