"""Convolutions."""

from typing import Any

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, channels_last, input_of, name_of
from converters.porting.expressions import expression, scalar, unless
from converters.porting.functions.convolution import transposed
from converters.porting.graph import Operation, Value

MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # torch's names and jax.numpy's


def conv(e: Emitter, op: Operation, padding: Any = None) -> Result:
    """Writes a convolution; what is padded with other than zeros is padded before.

    Args:
        e: The scope.
        op: The call of the layer.
        padding: As Flax's, in place of the layer's.
    """
    m, x = op.module, input_of(op)
    order = channels_last(x.ndim)
    given, padding = e.get(x, order), _padding(m) if padding is None else padding
    if m.padding_mode != "zeros":
        # torch's own list has the last axis first, each with what goes before and after it.
        pads = m._reversed_padding_repeated_twice
        pairs = [tuple(pads[i : i + 2]) for i in range(0, len(pads), 2)]
        widths = ((0, 0), *pairs[::-1], (0, 0))
        given = expression("jnp.pad(x, widths, mode=m)", x=given, widths=widths, m=MODES[m.padding_mode])
        padding = 0
    return expression(
        "nn.Conv(features, kernel_size, strides=s, padding=p, kernel_dilation=d, feature_group_count=g, "
        "use_bias=b, name=n)(x)",
        features=m.out_channels,
        kernel_size=tuple(m.kernel_size),
        s=unless({*m.stride} == {1}, scalar(m.stride)),
        p=padding,
        d=unless({*m.dilation} == {1}, scalar(m.dilation)),
        g=unless(m.groups == 1, m.groups),
        b=unless(m.bias is not None, value=False),
        n=name_of(e, op),
        x=given,
    ), order


def _padding(m: Any) -> Any:
    """Returns the padding as Flax's: a number, or what goes before and after each axis."""
    if m.padding == "valid":
        return 0
    if m.padding == "same":
        return "SAME"
    padding = scalar(m.padding)
    return padding if isinstance(padding, int) else tuple((p, p) for p in padding)


def _own(op: Operation, name: str) -> Value:
    """Returns the value of a parameter of the layer."""
    tensor = getattr(op.module, name)
    shape = tuple(tensor.shape)
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Value(shape=shape, other_shape=shape, dtype=dtype, parameter=f"{op.path}.{name}")


def conv_transpose(e: Emitter, op: Operation) -> Result:
    """Writes a transposed convolution; Flax's has no groups."""
    m, x = op.module, input_of(op)
    if len(op.arguments) > 1 or op.keywords.get("output_size") is not None:
        raise ConversionError(f"{e.where}{op.function} with output_size= is not known; give output_padding=.")
    if m.groups > 1:
        bias = None if m.bias is None else _own(op, "bias")
        return transposed(e, x, _own(op, "weight"), bias, vars(m))
    order = channels_last(x.ndim)
    pads = []
    for size, pad, more, dilation in zip(m.kernel_size, m.padding, m.output_padding, m.dilation, strict=True):
        whole = dilation * (size - 1)
        pads.append((whole - pad, whole - pad + more))
    return expression(
        "nn.ConvTranspose(features, kernel_size, strides=s, padding=p, kernel_dilation=d, use_bias=b, "
        "transpose_kernel=True, name=n)(x)",
        features=m.out_channels,
        kernel_size=tuple(m.kernel_size),
        s=unless({*m.stride} == {1}, tuple(m.stride)),
        p=tuple(pads),
        d=unless({*m.dilation} == {1}, tuple(m.dilation)),
        b=unless(m.bias is not None, value=False),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


LAYERS: dict[type, Handler] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), conv),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), conv_transpose),
}
