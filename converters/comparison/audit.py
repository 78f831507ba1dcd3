"""Differences that equal outputs may hide: other arrays, other ways to train."""

from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from converters.comparison.calls import double
from converters.comparison.report import Finding, difference
from converters.inspection import Path
from converters.matching.fit import Fit
from converters.tensors import StateDict


class TorchTensors(StateDict):
    """A torch module's state dict, which knows what is tied."""

    def __init__(self, model: Any) -> None:
        tensors = model.state_dict(keep_vars=True)  # parameters themselves: the same one under all its names
        super().__init__(tensors)
        first: dict[int, str] = {}
        self.aliases = {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}


def audit_arrays(fit: Fit, variables: Mapping[Path, Any]) -> Iterator[Finding]:
    """The arrays that are not those of the torch module, and what does not fit at all."""
    for problem in fit.problems:
        yield Finding("", "state dict", problem)
    for link in fit.links:
        if any(name not in fit.tensors for name in link.tensors):
            continue
        if any(
            s not in (None, fit.tensors.shapes[n]) for n, s in zip(link.tensors, link.shapes, strict=True)
        ):
            continue
        wanted = link.to_flax(tuple(fit.tensors[name] for name in link.tensors))
        for array, tensor in zip(link.arrays, wanted, strict=True):
            mine, theirs = double(variables[array.path]), double(tensor)
            if not np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f"):
                where = "/".join(array.path[1:-1])
                yield Finding(where, array.path[-1], _how(mine, theirs, " and ".join(link.tensors)))


def _how(mine: np.ndarray, theirs: np.ndarray, tensors: str) -> str:
    """In which way an array is another; a square kernel fits transposed as well."""
    for first in range(mine.ndim):
        for second in range(first):
            swapped = np.swapaxes(theirs, first, second)
            if np.array_equal(mine, swapped):
                return f"{tensors} with axes {second} and {first} swapped"
    return f"off from {tensors} by up to {difference(mine, theirs).absolute:.1e}"


def audit_training(layers: Mapping[Path, nn.Module]) -> Iterator[Finding | str]:
    """Settings of Flax alone that make it train otherwise than PyTorch."""
    plain = []
    for path, layer in layers.items():
        if getattr(layer, "use_fast_variance", False):
            yield Finding("/".join(path), "use_fast_variance", "True", "False")
        if isinstance(layer, nn.BatchNorm) and type(layer).__call__ is nn.BatchNorm.__call__:
            plain.append("/".join(path))
    if plain:
        yield f"training: the running variance is biased here, unbiased in PyTorch: {', '.join(plain)}"
