"""Refuses what cannot be ported, with the line of torch code that does it."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from converters.errors import ConversionError

READING = {
    "__bool__",
    "item",
    "tolist",
    "__int__",
    "__float__",
    "__index__",
    "__complex__",
    "numpy",
    "__array__",
}
READING |= {
    "__array__",
    "equal",
    "allclose",
    "is_nonzero",
    "__contains__",
    "_local_scalar_dense",
    "__dlpack__",
}
SHAPES = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount", "_unique2"}


def refuse(place: str, why: str) -> NoReturn:
    """Raises a ConversionError."""
    raise ConversionError(f"{place}{why}")


def refuse_reading(name: str, place: str) -> None:
    """Refuses a function that gives numbers of a tensor to Python."""
    if name in READING:
        shown = {"__bool__": "an `if`, `while` or `bool()`"}.get(name, f"`{name.strip('_')}`")
        refuse(
            place,
            f"{shown} reads numbers of a tensor that depends on the inputs or the weights, so that what "
            "follows holds for these only; choose with torch.where, or take the number as an argument.",
        )


def refuse_shape(name: str, args: Sequence[Any], place: str) -> None:
    """Refuses a function that gives as many numbers as its tensors' numbers say."""
    index = args[1] if len(args) > 1 else None
    parts = index if isinstance(index, tuple) else (index,)
    masks = [each for each in parts if isinstance(each, torch.Tensor) and each.dtype == torch.bool]
    if (
        name in SHAPES
        or (name == "where" and len(args) == 1)
        or (name == "__getitem__" and masks)
        or (name == "repeat_interleave" and isinstance(index, torch.Tensor))
    ):
        shown = "indexing by a mask" if name == "__getitem__" else f"`{name}`"
        refuse(
            place,
            f"{shown} gives a shape that depends on the numbers in a tensor, and JAX needs to know each "
            "shape before; write it with torch.where or a mask of the full shape.",
        )


def refuse_made(name: str, place: str) -> NoReturn:
    """Refuses weights that the module does not keep."""
    refuse(
        place,
        f"`{name}` has weights that are none of the module's, so that no checkpoint has them; make the layer "
        "in `__init__`, and keep it as an attribute or in a torch.nn.ModuleList.",
    )


def refuse_changed(name: str, place: str) -> NoReturn:
    """Refuses a change in place of what the module keeps."""
    refuse(
        place,
        f"changes {name} of the module in place; a Flax module does not change its arrays as it is called. "
        "Return the new value instead.",
    )
