"""Saved blocks for a model that runs them in the other way: in a loop, or one after the other."""

import re
from collections import Counter
from collections.abc import Mapping

import jax

from zoo._variables import lazy


def stack_or_unstack(
    arrays: Mapping[str, lazy.Array], shapes: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, lazy.Array]:
    """Arrays by path, stacked or taken apart where the model runs the blocks in the other way.

    Args:
        arrays: Of a file, `params/h_0/mlp/bias` and so on, or `params/h/mlp/bias`.
        shapes: What the model wants.
    """
    found, taken = dict(arrays), Counter[str]()
    for path, shape in shapes.items():
        if path not in found and any(shape.shape[:1]):
            _stack(found, path, shape.shape)
        if path not in found:
            taken.update(_take(found, path, shape.shape))
    return {path: array for path, array in found.items() if not taken[path] or len(array) > taken[path]}


def _stack(found: dict[str, lazy.Array], path: str, shape: tuple[int, ...]) -> None:
    """Puts the arrays of a list's blocks in one, if they are there."""
    for slash in re.finditer("/", path):
        names = [f"{path[: slash.start()]}_{index}{path[slash.start() :]}" for index in range(shape[0])]
        if all(name in found and found[name].shape == shape[1:] for name in names):
            found[path] = lazy.stack([found.pop(name) for name in names])
            return


def _take(found: dict[str, lazy.Array], path: str, shape: tuple[int, ...]) -> list[str]:
    """Puts the array of a list's block in its place, if there is a stacked one, and says which."""
    for number in re.finditer(r"_(\d+)(?=/)", path):
        stacked, index = path[: number.start()] + path[number.end() :], int(number[1])
        if stacked in found and found[stacked].shape[1:] == shape and index < len(found[stacked]):
            found[path] = found[stacked][index]
            return [stacked]
    return []
