"""A module of one's own, of linen or NNX, as conversions see it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import flax.linen as nn
import jax
import numpy as np

from converters.inspection import Inspection, Path
from converters.linen import initial_values
from converters.matching import Link
from zoo._saving.call import Call
from zoo._variables.check import check_fit

if TYPE_CHECKING:
    from converters.nnx import NnxTarget  # it imports flax.nnx, which linen does without

OwnModule: TypeAlias = Union[nn.Module, "NnxTarget"]


def flax_module(module: OwnModule) -> Any:
    """Returns the module itself, of either library."""
    return module if isinstance(module, nn.Module) else module.module


def inspections(module: OwnModule, call: Call) -> Sequence[Inspection]:
    """Returns the ways to see the module, the likeliest first."""
    return (call.inspect(module),) if isinstance(module, nn.Module) else module.inspections()


def initializer(module: OwnModule, call: Call) -> Callable[[Sequence[Path]], Sequence[np.ndarray]]:
    """Returns what makes initial values of arrays."""
    if not isinstance(module, nn.Module):
        return module.initial_values
    args, kwargs = call.arguments(module)

    def values(paths: Sequence[Path]) -> Sequence[np.ndarray]:
        return initial_values(module, paths, *args, kwargs=kwargs, rngs=None, method=call.method)

    return values


def doubts(module: OwnModule, links: Sequence[Link]) -> Sequence[str]:
    """Returns sentences on what may be wrong though all fits; linen's are refusals."""
    return () if isinstance(module, nn.Module) else module.doubts(links)


def checked(arrays: Mapping[str, np.ndarray], target: "NnxTarget") -> Mapping[str, np.ndarray]:
    """Returns arrays by path, which are those of an NNX module.

    Raises:
        WeightsError: they are not.
    """
    (inspection, *_) = target.inspections()
    shapes = {str(each): jax.ShapeDtypeStruct(each.shape, each.dtype) for each in inspection.arrays}
    # One array of several layers may be there under any of their names.
    names = {"/".join(path): "/".join(first) for path, first in inspection.same.items()}
    there = {names.get(path, path) for path in arrays}
    check_fit(
        arrays,
        {
            path: shape
            for path, shape in shapes.items()
            if path in arrays or names.get(path, path) not in there
        },
        target.module,
    )
    return arrays


def nnx_state(arrays: Mapping[str, np.ndarray], target: "NnxTarget") -> Any:
    """Returns the `nnx.State` of an NNX module with these arrays."""
    return target.variables((tuple(path.split("/")), array) for path, array in arrays.items())
