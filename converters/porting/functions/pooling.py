"""Maxima and means of windows."""

from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    channels_last,
)
from converters.porting.expressions import expression, unless
from converters.porting.graph import Operation, Value, bound


def pool(
    e: Emitter, x: Value, name: str, window: Any, stride: Any, padding: Any, ceil: bool, dilation: Any
) -> Result:
    n, order = x.ndim - 2, channels_last(x.ndim)
    each = lambda v: tuple(v) if isinstance(v, tuple | list) else (v,) * n
    if {*each(dilation)} != {1}:
        raise ConversionError(f"{e.where}pooling with dilation")
    stride = stride or window
    if ceil:
        if name != "max_pool":
            raise ConversionError(f"{e.where}mean pooling with ceil_mode")
        made = expression(
            "max_pool_ceil(x, window_shape, strides, padding)",
            x=e.get(x, order),
            window_shape=each(window),
            strides=each(stride),
            padding=each(padding),
        )
        return made, order
    return expression(
        f"nn.{name}(x, window_shape, strides=s, padding=p)",
        x=e.get(x, order),
        window_shape=each(window),
        s=unless({*each(stride)} == {1}, each(stride)),
        p=unless({*each(padding)} == {0}, tuple((p, p) for p in each(padding))),
    ), order


def adaptive_mean(e: Emitter, x: Value, output_size: Any) -> Result:
    n, order = x.ndim - 2, channels_last(x.ndim)
    size = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * n
    axes = tuple(range(1, n + 1))
    if {*size} == {1}:
        return expression("x.mean(axes, keepdims=True)", x=e.get(x, order), axes=axes), order
    spatial = x.shape[2:]
    if all(s in (None, have) for s, have in zip(size, spatial, strict=True)) and spatial == x.other_shape[2:]:
        return e.get(x, order), order
    return expression("adaptive_avg_pool(x, sizes)", x=e.get(x, order), sizes=size), order


def max_pool(e: Emitter, op: Operation) -> Result:
    g = bound(op, "x kernel_size stride=None padding=0 dilation=1 ceil_mode=False return_indices=False")
    return pool(
        e, g["x"], "max_pool", g["kernel_size"], g["stride"], g["padding"], g["ceil_mode"], g["dilation"]
    )


def avg_pool(e: Emitter, op: Operation) -> Result:
    g = bound(
        op, "x kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True divisor_override=None"
    )
    return pool(e, g["x"], "avg_pool", g["kernel_size"], g["stride"], g["padding"], g["ceil_mode"], 1)


def adaptive_pool(e: Emitter, op: Operation) -> Result:
    g = bound(op, "x output_size")
    return adaptive_mean(e, g["x"], g["output_size"])


FUNCTIONS: dict[str, Handler] = {
    "max_pool2d": max_pool,
    "avg_pool2d": avg_pool,
    "adaptive_avg_pool2d": adaptive_pool,
}
