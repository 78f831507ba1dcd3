"""A module of one's own, of linen or NNX, as conversions see it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import flax.linen as nn
import numpy as np

from converters.inspection import Inspection, Path
from converters.linen import initial_values
from converters.matching import Link
from zoo._saving.call import Call

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
