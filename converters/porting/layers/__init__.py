"""Layers of torch.nn as expressions of Flax's."""

from converters.porting.emit import Handler
from converters.porting.layers import attention, convolution, linear, normalization, plain, recurrent

LAYERS: dict[type, Handler] = {
    **convolution.LAYERS,
    **linear.LAYERS,
    **normalization.LAYERS,
    **plain.LAYERS,
    **attention.LAYERS,
    **recurrent.LAYERS,
}

__all__ = ["LAYERS"]
