"""Normalization, with running statistics or without."""

from torch import nn

from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    channels_last,
    input_of,
    name_of,
    plain,
)
from converters.porting.expressions import expression, unless
from converters.porting.graph import Operation


def batch_norm(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    order = channels_last(x.ndim) if x.ndim > 2 else plain(2)
    e.code.uses_train = True
    return expression(
        "BatchNorm(momentum=m, epsilon=e, use_bias=a, use_scale=a, name=n)(x, use_running_average=not train)",
        m=unless(m.momentum == 0.1, round(1 - m.momentum, 12)),
        e=unless(m.eps == 1e-5, m.eps),
        a=unless(m.affine, False),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


def layer_norm(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    count = len(m.normalized_shape)
    order = (*(a for a in e.order(x) if a < x.ndim - count), *range(x.ndim - count, x.ndim))
    return expression(
        "nn.LayerNorm(epsilon=e, use_bias=b, use_scale=a, reduction_axes=r, feature_axes=r, use_fast_variance=False, name=n)(x)",
        e=m.eps,
        a=unless(m.elementwise_affine, False),
        b=unless(getattr(m, "bias", None) is not None, False),
        r=unless(count == 1, tuple(range(-count, 0))),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


LAYERS: dict[type, Handler] = {
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.LayerNorm: layer_norm,
}
