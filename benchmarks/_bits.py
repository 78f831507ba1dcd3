"""State dicts compared bit by bit, whatever library holds the tensors."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], *, order: bool = True) -> Iterator[str]:
    """Returns the differences in words: names, their order if asked, dtypes, shapes, bytes."""
    names = list(found), list(wanted)
    if sorted(names[0]) != sorted(names[1]):
        yield f"other names: {', '.join(sorted({*names[0]} ^ {*names[1]})[:3])} ..."
        return
    if order and names[0] != names[1]:
        yield "names in another order"
    for name in wanted:
        one, other = found[name], wanted[name]
        if _form(one) != _form(other):
            yield f"{name} is {_form(one)}, not {_form(other)}"
        elif not np.array_equal(raw(one), raw(other)):
            yield f"{name} has other bits"


def raw(tensor: Any) -> np.ndarray:
    """The bytes of a contiguous tensor or array, without a copy."""
    if isinstance(tensor, torch.Tensor):
        return tensor.detach().view(-1).view(torch.uint8).numpy()
    return tensor.reshape(-1).view(np.uint8)


def _form(tensor: Any) -> tuple[str, tuple[int, ...]]:
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
