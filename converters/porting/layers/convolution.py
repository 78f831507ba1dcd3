"""Convolutions."""

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    channels_last,
    input_of,
    name_of,
)
from converters.porting.expressions import expression, scalar, unless
from converters.porting.graph import Operation


def conv(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    order = channels_last(x.ndim)
    if m.padding_mode != "zeros" or isinstance(m.padding, str):
        raise ConversionError(f"{e.where}a convolution with padding {m.padding!r}, {m.padding_mode!r}")
    padding = scalar(m.padding)
    if not isinstance(padding, int):
        padding = tuple((p, p) for p in padding)
    return expression(
        "nn.Conv(features, kernel_size, strides=s, padding=p, kernel_dilation=d, feature_group_count=g, "
        "use_bias=b, name=n)(x)",
        features=m.out_channels,
        kernel_size=tuple(m.kernel_size),
        s=unless({*m.stride} == {1}, scalar(m.stride)),
        p=padding,
        d=unless({*m.dilation} == {1}, scalar(m.dilation)),
        g=unless(m.groups == 1, m.groups),
        b=unless(m.bias is not None, False),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


LAYERS: dict[type, Handler] = dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), conv)
