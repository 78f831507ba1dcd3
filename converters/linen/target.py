"""A linen module that tensors go into, or come from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import numpy as np
from flax.core import meta
from flax.traverse_util import flatten_dict, unflatten_dict

from converters.errors import ConversionError
from converters.inspection import Inspection, Path
from converters.linen.initial import initial_values
from converters.linen.inspect import inspect_module
from converters.matching.arrays import contiguous
from converters.matching.links import Link


@dataclass(frozen=True, kw_only=True)
class LinenTarget:
    """`Target` for a linen module, whose arrays its example inputs tell.

    Attributes:
        module: Any linen module.
        inputs: Example inputs of `init`.
        kwargs: Keyword arguments of it.
        rngs: Random streams of it.
        method: Method that it runs.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rngs: Any
    method: Callable[..., Any] | str | None

    def inspections(self) -> Sequence[Inspection]:
        return (
            inspect_module(self.module, *self.inputs, kwargs=self.kwargs, rngs=self.rngs, method=self.method),
        )

    def initial_values(self, paths: Sequence[Path]) -> list[np.ndarray]:
        return initial_values(
            self.module, paths, *self.inputs, kwargs=self.kwargs, rngs=self.rngs, method=self.method
        )

    def variables(self, arrays: Iterable[tuple[Path, np.ndarray]]) -> dict[str, Any]:
        found: dict[str, Any] = unflatten_dict({path: contiguous(array) for path, array in arrays})
        return found

    def doubts(self, links: Sequence[Link]) -> Sequence[str]:
        return ()  # the run of the module tells

    def values(self, variables: Any, inspection: Inspection) -> dict[Path, Any]:
        return check_variables(variables, inspection, type(self.module).__name__)


def check_variables(variables: Mapping[str, Any], inspection: Inspection, module: str) -> dict[Path, Any]:
    """Returns the variables of a linen module by their paths.

    Raises:
        ConversionError: they are not those of the module.
    """
    if not isinstance(variables, Mapping):
        found_type = type(variables).__name__
        raise ConversionError(f"variables are a mapping of collections, found a {found_type}")
    found: dict[Path, Any] = flatten_dict(meta.unbox(dict(variables)))
    wanted = {array.path: array for array in inspection.arrays}
    lines = [f"  missing    {array}" for path, array in wanted.items() if path not in found]
    lines += [f"  left over  {'/'.join(path)}" for path in found if path not in wanted]
    lines += [
        f"  misshapen  {array}: {np.shape(found[path])} for {array.shape}"
        for path, array in wanted.items()
        if path in found and np.shape(found[path]) != array.shape
    ]
    if lines:
        raise ConversionError("\n".join([f"the variables do not fit {module}:", *lines]))
    return found
