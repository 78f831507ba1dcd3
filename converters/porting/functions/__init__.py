"""Functions of torch as expressions of JAX, in the order of axes that a value has in memory."""

from converters.porting.emit import Handler
from converters.porting.functions import (
    activation,
    creation,
    elementwise,
    indexing,
    pooling,
    products,
    reductions,
    shapes,
)

FUNCTIONS: dict[str, Handler] = {
    **activation.FUNCTIONS,
    **creation.FUNCTIONS,
    **elementwise.FUNCTIONS,
    **indexing.FUNCTIONS,
    **pooling.FUNCTIONS,
    **products.FUNCTIONS,
    **reductions.FUNCTIONS,
    **shapes.FUNCTIONS,
}

__all__ = ["FUNCTIONS"]
