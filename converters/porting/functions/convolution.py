"""Convolutions whose weights are computed, or are those of another module."""

import ast
from collections.abc import Mapping
from typing import Any

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, channels_last
from converters.porting.expressions import expression, scalar, unless
from converters.porting.functions.owners import owner
from converters.porting.functions.pooling import each
from converters.porting.graph import Operation, Value, bound

PLAIN = "x weight bias=None stride=1 padding=0 dilation=1 groups=1"
TRANSPOSED = "x weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1"
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
LETTERS = {1: "W", 2: "HW", 3: "DHW"}  # as jax.lax names the spatial axes


def convolved(e: Emitter, op: Operation) -> Result:
    """Writes a convolution: of a layer, if its arrays are one's."""
    g = bound(op, PLAIN)
    x, weight, n = g["x"], g["weight"], g["x"].ndim - 2
    if weight.ndim != x.ndim:
        raise ConversionError(f"{e.where}a convolution of an array without a batch; give it one.")
    stride, dilation = each(g["stride"], n), each(g["dilation"], n)
    padding = _padding(g["padding"], n)
    order, name = channels_last(x.ndim), owner(e, CONVOLUTIONS, weight=weight, bias=g["bias"])
    if name is not None:
        return expression(
            "nn.Conv(features, kernel_size, strides=s, padding=p, kernel_dilation=d, "
            "feature_group_count=g, use_bias=b, name=n)(x)",
            features=weight.shape[0],
            kernel_size=tuple(weight.shape[2:]),
            s=unless({*stride} == {1}, scalar(stride)),
            p=padding if isinstance(padding, str) or len({*padding}) > 1 else padding[0][0],
            d=unless({*dilation} == {1}, scalar(dilation)),
            g=unless(g["groups"] == 1, g["groups"]),
            b=unless(g["bias"] is not None, value=False),
            n=name,
            x=e.get(x, order),
        ), order
    made = of_kernel(e, x, e.plain(weight), {**g, "padding": padding})
    return biased(e, made, g["bias"]), order


def of_kernel(e: Emitter, x: Value, kernel: ast.expr, settings: Mapping[str, Any]) -> ast.expr:
    """Returns a convolution with a kernel as PyTorch's is, (out, in / groups, *spatial).

    Args:
        e: The emitter.
        x: The input.
        kernel: The kernel.
        settings: `stride`, `dilation` and `groups` as PyTorch has them, `padding` as JAX has it.
    """
    n = x.ndim - 2
    letters, dilation = LETTERS[n], each(settings["dilation"], n)
    return expression(
        "jax.lax.conv_general_dilated(x, w, strides, padding, rhs_dilation=d, dimension_numbers=n, "
        "feature_group_count=g)",
        x=e.get(x, channels_last(x.ndim)),
        w=kernel,
        strides=each(settings["stride"], n),
        padding=settings["padding"],
        d=unless({*dilation} == {1}, dilation),
        n=(f"N{letters}C", f"OI{letters}", f"N{letters}C"),
        g=unless(settings["groups"] == 1, settings["groups"]),
    )


def _padding(given: Any, n: int) -> Any:
    """Returns what goes before and after each axis; JAX's name for torch's."""
    if isinstance(given, str):
        return {"same": "SAME", "valid": "VALID"}[given]
    return tuple((pad, pad) for pad in each(given, n))


def biased(e: Emitter, made: ast.expr, bias: Value | None) -> ast.expr:
    """Returns an expression plus a bias, which has one number for each channel."""
    return made if bias is None else expression("y + b", y=made, b=e.plain(bias))


def transposed(e: Emitter, x: Value, weight: Value, bias: Value | None, settings: Any) -> Result:
    """Writes a transposed convolution with torch's weights (in, out / groups, *spatial).

    Args:
        e: The emitter.
        x: The input.
        weight: The kernel.
        bias: One number for each channel, or None.
        settings: Mapping with `stride`, `padding`, `output_padding`, `dilation` and `groups`.
    """
    n, order = x.ndim - 2, channels_last(x.ndim)
    stride, padding, more, dilation = (
        each(settings[key], n) for key in ("stride", "padding", "output_padding", "dilation")
    )
    made = expression(
        "conv_transpose(x, w, strides, padding, output_padding=o, dilation=d, groups=g)",
        x=e.get(x, order),
        w=e.plain(weight),
        strides=stride,
        padding=padding,
        o=unless({*more} == {0}, more),
        d=unless({*dilation} == {1}, dilation),
        g=unless(settings["groups"] == 1, settings["groups"]),
    )
    return biased(e, made, bias), order


def conv_transposed(e: Emitter, op: Operation) -> Result:
    """Writes a transposed convolution with arrays of the module that calls it."""
    g = bound(op, TRANSPOSED)
    return transposed(e, g["x"], g["weight"], g["bias"], g)


FUNCTIONS: dict[str, Handler] = {
    **{f"conv{n}d": convolved for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": conv_transposed for n in (1, 2, 3)},
}
