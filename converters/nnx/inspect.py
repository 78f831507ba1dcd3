"""Inspects an NNX module, which knows its arrays: nothing is run."""

import jax.numpy as jnp
from flax import nnx

from converters.inspection import Inspection, Variable
from converters.nnx.stacked import lifts
from converters.nnx.table import rows
from converters.nnx.walk import walk


def inspect_nnx(module: nnx.Module, *, innermost: bool = False) -> Inspection:
    """Returns the layers and arrays of a module, concrete or abstract.

    Args:
        module: Any NNX module; an abstract one is `nnx.eval_shape(lambda: Net(rngs=nnx.Rngs(0)))`.
        innermost: If true, the index of a stack of modules goes to the innermost module that could be the
            stack, where several could.
    """
    found = walk(module)
    arrays = {path: array for path, array in found.arrays.items() if path[0]}
    shapes = {path: tuple(array.shape) for path, array in arrays.items()}
    stacked = lifts(found.layers, shapes, innermost=innermost)
    return Inspection(
        layers=found.layers,
        arrays=tuple(
            Variable(
                path=path,
                shape=shapes[path],
                dtype=jnp.dtype(arrays[path].dtype),
                lifts=stacked.get(path, ()),
            )
            for path in arrays
        ),
        attributes=found.attributes,
        rows=rows,
        same={path: first for path, first in found.same.items() if path in arrays},
    )
