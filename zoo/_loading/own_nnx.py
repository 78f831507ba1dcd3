"""NNX modules of one's own, with the weights that `zoo convert` wrote for them."""

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeGuard

import jax
import numpy as np

from zoo._errors import ZooError
from zoo._loading import weights
from zoo._loading.located import Located
from zoo._loading.nnx_model import NNXModel, Record
from zoo._model import Origin
from zoo._variables.check import check_fit

if TYPE_CHECKING:
    from converters.nnx import NnxTarget  # it imports flax.nnx, which linen does without


def is_function(module: Any) -> TypeGuard[Callable[[], Any]]:
    """Returns whether it is a function that may make a module, and no module itself, nor the class of one."""
    return isinstance(module, FunctionType | MethodType | partial)


def load_own(located: Located, module: Any, *, pretrained: bool, others: Mapping[str, Any]) -> NNXModel:
    """Returns a model of an NNX module of one's own, placed as the module's annotations say.

    Args:
        located: Where its weights are.
        module: A function that makes it.
        pretrained: If true, it has these weights; else its own initial values.
        others: Keywords of `load` that are none of its business.

    Raises:
        ZooError: there are such keywords.
        WeightsError: the weights are not the module's.
    """
    from converters.nnx import NnxTarget

    unset = (None, False, ())  # 0 classes are a wish, and equal False
    given = ", ".join(
        f"{name}=" for name, value in others.items() if not any(value is each for each in unset)
    )
    if given:
        raise ZooError(f"{given} does not go with an NNX module of your own; the module itself says it.")
    target = NnxTarget.of(module)
    origin = Origin(pretrained=pretrained, located=located)
    record = Record(entry=located.entry, origin=origin)
    return NNXModel(filled(weights.read(located), target) if pretrained else module(), record)


def filled(arrays: Mapping[str, np.ndarray], target: "NnxTarget") -> Any:
    """Returns the module, or the state of one that exists, with arrays by path.

    Raises:
        WeightsError: they are not those of the module.
    """
    found = checked(arrays, target)
    return target.variables((tuple(path.split("/")), array) for path, array in found.items())


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
    needed = (path for path in shapes if path in arrays or names.get(path, path) not in there)
    check_fit(arrays, {path: shapes[path] for path in needed}, target.module)
    return arrays
