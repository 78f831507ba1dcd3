"""Layers of torch.nn as expressions of Flax's."""

from converters.porting.emit import Handler
from converters.porting.layers import convolution, linear, normalization, plain

LAYERS: dict[type, Handler] = {
    **convolution.LAYERS,
    **linear.LAYERS,
    **normalization.LAYERS,
    **plain.LAYERS,
}

__all__ = ["LAYERS"]
