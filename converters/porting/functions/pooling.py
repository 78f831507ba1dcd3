"""Maxima and means of windows."""

from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, channels_last
from converters.porting.expressions import expression, unless
from converters.porting.graph import Operation, Value, bound
from converters.porting.unify import Varying

MAX = "x kernel_size stride=None padding=0 dilation=1 ceil_mode=False return_indices=False"
MEAN = "x kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True divisor_override=None"
ADAPTIVE = "x output_size return_indices=False"


def arguments(op: Operation, names: str) -> dict[str, Any]:
    """Returns what a function was given, or what its layer was made with."""
    if op.module is None:
        return bound(op, names)
    x, *_ = names.split()
    own = {
        key: getattr(op.module, key) for name in names.split()[1:] if hasattr(op.module, key := _key(name))
    }
    return {
        **bound(Operation(function="", arguments=[*op.arguments], keywords=own), names),
        x: op.arguments[0],
    }


def _key(name: str) -> str:
    return name.partition("=")[0]


def each(number: Any, axes: int) -> tuple[Any, ...]:
    """Returns a number for each of the spatial axes."""
    found = tuple(number) if isinstance(number, tuple | list) else (number,)
    return found if len(found) == axes else found * axes


def max_pool(e: Emitter, op: Operation) -> Result:
    """Writes the maximum of windows."""
    g = arguments(op, MAX)
    x: Value = g["x"]
    if g["return_indices"]:
        raise ConversionError(f"{e.where}max pooling that returns indices has no counterpart in Flax.")
    n, order = x.ndim - 2, channels_last(x.ndim)
    window, padding, dilation = (each(g[key], n) for key in ("kernel_size", "padding", "dilation"))
    strides = each(g["stride"] or g["kernel_size"], n)
    if g["ceil_mode"] or {*dilation} != {1}:
        return expression(
            "max_pool(x, window_shape, strides, padding, dilation=d, ceil_mode=c)",
            x=e.get(x, order),
            window_shape=window,
            strides=strides,
            padding=padding,
            d=unless({*dilation} == {1}, dilation),
            c=unless(not g["ceil_mode"], value=True),
        ), order
    return _plain(
        "nn.max_pool(x, window_shape, strides=s, padding=p)", e.get(x, order), window, strides, padding
    ), order


def mean_pool(e: Emitter, op: Operation) -> Result:
    """Writes the mean of windows."""
    g = arguments(op, MEAN)
    x: Value = g["x"]
    n, order = x.ndim - 2, channels_last(x.ndim)
    window, padding = each(g["kernel_size"], n), each(g["padding"], n)
    strides = each(g["stride"] or g["kernel_size"], n)
    counts = g["count_include_pad"] or {*padding} == {0}
    if g["ceil_mode"] or g["divisor_override"]:
        return expression(
            "avg_pool(x, window_shape, strides, padding, ceil_mode=m, count_include_pad=c, divisor=d)",
            x=e.get(x, order),
            window_shape=window,
            strides=strides,
            padding=padding,
            m=unless(not g["ceil_mode"], value=True),
            c=unless(counts, value=False),
            d=unless(not g["divisor_override"], g["divisor_override"]),
        ), order
    template = (
        f"nn.avg_pool(x, window_shape, strides=s, padding=p{'' if counts else ', count_include_pad=False'})"
    )
    return _plain(template, e.get(x, order), window, strides, padding), order


def _plain(template: str, x: Any, window: Any, strides: Any, padding: Any) -> Any:
    return expression(
        template,
        x=x,
        window_shape=window,
        s=unless({*strides} == {1}, strides),
        p=unless({*padding} == {0}, tuple((p, p) for p in padding)),
    )


def adaptive(name: str) -> Handler:
    """Writes windows of which there are as many as asked for."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = arguments(op, ADAPTIVE)
        x: Value = g["x"]
        n, order = x.ndim - 2, channels_last(x.ndim)
        sizes = each(g["output_size"], n)
        if {*sizes} == {1}:
            axes: Any = tuple(range(1, n + 1)) if n > 1 else 1
            return expression(f"x.{name}(axes, keepdims=True)", x=e.get(x, order), axes=axes), order
        spatial = x.shape[2:]
        fixed = spatial == x.other_shape[2:] and not any(isinstance(size, Varying) for size in sizes)
        if fixed and all(size in (None, have) for size, have in zip(sizes, spatial, strict=True)):
            return e.get(x, order), order
        template = f"adaptive_pool(x, sizes{'' if name == 'mean' else ', largest=True'})"
        return expression(template, x=e.get(x, order), sizes=e.tree(sizes)), order

    return handler


FUNCTIONS: dict[str, Handler] = {
    **{f"max_pool{n}d": max_pool for n in (1, 2, 3)},
    **{f"avg_pool{n}d": mean_pool for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": adaptive("mean") for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": adaptive("max") for n in (1, 2, 3)},
}
