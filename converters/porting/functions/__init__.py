"""Functions of torch as expressions of JAX, in the order of axes that a value has in memory."""

from converters.porting.emit import Handler
from converters.porting.functions import (
    activation,
    attention,
    casts,
    comparison,
    convolution,
    creation,
    elementwise,
    fourier,
    gathering,
    indexing,
    inplace,
    interpolation,
    losses,
    mathematics,
    modes,
    normalization,
    patches,
    pooling,
    products,
    random,
    reductions,
    shapes,
)

FUNCTIONS: dict[str, Handler] = {
    **activation.FUNCTIONS,
    **casts.FUNCTIONS,
    **comparison.FUNCTIONS,
    **creation.FUNCTIONS,
    **gathering.FUNCTIONS,
    **elementwise.FUNCTIONS,
    **indexing.FUNCTIONS,
    **inplace.FUNCTIONS,
    **losses.FUNCTIONS,
    **mathematics.FUNCTIONS,
    **modes.FUNCTIONS,
    **pooling.FUNCTIONS,
    **products.FUNCTIONS,
    **random.FUNCTIONS,
    **reductions.FUNCTIONS,
    **shapes.FUNCTIONS,
    **convolution.FUNCTIONS,
    **fourier.FUNCTIONS,
    **interpolation.FUNCTIONS,
    **normalization.FUNCTIONS,
    **patches.FUNCTIONS,
    **attention.FUNCTIONS,
}

__all__ = ["FUNCTIONS"]
