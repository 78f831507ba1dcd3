"""Normalization, with running statistics or without."""

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, channels_last, input_of, name_of, plain
from converters.porting.expressions import expression, unless
from converters.porting.functions.modes import mode
from converters.porting.functions.normalization import averaged, local_response_norm
from converters.porting.graph import Operation


def batch_norm(e: Emitter, op: Operation) -> Result:
    """Writes a batch norm; its class is one whose running variance is PyTorch's."""
    m, x = op.module, input_of(op)
    if m.running_mean is None or m.momentum is None:
        raise ConversionError(
            f"{e.where}{op.function} without running statistics, or with cumulative ones (momentum=None), "
            "has no counterpart in Flax."
        )
    order = channels_last(x.ndim) if x.ndim > 2 else plain(2)
    return expression(
        "BatchNorm(momentum=m, epsilon=e, use_bias=a, use_scale=a, name=n)(x, use_running_average=r)",
        r=averaged(e, op, mode(e, op)),
        m=unless(m.momentum == 0.1, round(1 - m.momentum, 12)),
        e=unless(m.eps == 1e-5, m.eps),
        a=unless(m.affine, value=False),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


def layer_norm(e: Emitter, op: Operation) -> Result:
    """Writes a layer norm over the last axes."""
    m, x = op.module, input_of(op)
    count = len(m.normalized_shape)
    order = (*(a for a in e.order(x) if a < x.ndim - count), *range(x.ndim - count, x.ndim))
    return expression(
        "nn.LayerNorm(epsilon=e, use_bias=b, use_scale=a, reduction_axes=r, feature_axes=r, "
        "use_fast_variance=False, name=n)(x)",
        e=m.eps,
        a=unless(m.elementwise_affine, value=False),
        b=unless(getattr(m, "bias", None) is not None, value=False),
        r=unless(count == 1, tuple(range(-count, 0))),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


def group_norm(e: Emitter, op: Operation) -> Result:
    """Writes a group norm; what is of two axes has no spatial one, which Flax takes too."""
    m, x = op.module, input_of(op)
    order = channels_last(x.ndim)
    return expression(
        "nn.GroupNorm(num_groups, epsilon=e, use_bias=a, use_scale=a, use_fast_variance=False, name=n)(x)",
        num_groups=m.num_groups,
        e=m.eps,
        a=unless(m.affine, value=False),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


def instance_norm(e: Emitter, op: Operation) -> Result:
    """Writes an instance norm."""
    m, x = op.module, input_of(op)
    if m.track_running_stats:
        raise ConversionError(f"{e.where}{op.function} with running statistics has no counterpart in Flax.")
    order = channels_last(x.ndim)
    return expression(
        "nn.InstanceNorm(epsilon=e, use_bias=a, use_scale=a, use_fast_variance=False, name=n)(x)",
        e=m.eps,
        a=unless(m.affine, value=False),
        n=unless(not m.affine, name_of(e, op)),
        x=e.get(x, order),
    ), order


def rms_norm(e: Emitter, op: Operation) -> Result:
    """Writes a root-mean-square norm; PyTorch's default epsilon is that of the type of number."""
    m, x = op.module, input_of(op)
    count = len(m.normalized_shape)
    order = (*(a for a in e.order(x) if a < x.ndim - count), *range(x.ndim - count, x.ndim))
    given = e.get(x, order)
    epsilon = expression("jnp.finfo(x.dtype).eps", x=given) if m.eps is None else m.eps
    return expression(
        "nn.RMSNorm(epsilon=e, use_scale=a, reduction_axes=r, feature_axes=r, use_fast_variance=False, "
        "name=n)(x)",
        e=epsilon,
        a=unless(m.elementwise_affine, value=False),
        r=unless(count == 1, tuple(range(-count, 0))),
        n=name_of(e, op),
        x=given,
    ), order


LAYERS: dict[type, Handler] = {
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), batch_norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), instance_norm),
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
    nn.RMSNorm: rms_norm,
    nn.LocalResponseNorm: local_response_norm,
}
