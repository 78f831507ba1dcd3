"""Windows of images as axes, and axes as windows."""

from typing import Any

from converters.porting.emit import Emitter, Handler, Result, channels_last
from converters.porting.expressions import expression, unless
from converters.porting.functions.pooling import each
from converters.porting.graph import Operation, Value, bound


def shuffle(name: str) -> Handler:
    """Returns the handler of channels that become pixels, or the other way."""

    def handler(e: Emitter, op: Operation) -> Result:
        x, factor = (*op.arguments, *op.keywords.values())[:2]
        order = channels_last(x.ndim)
        return expression(f"{name}(x, factor)", x=e.get(x, order), factor=factor), order

    return handler


def unfold(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.functional.unfold, and the method of that name, which is another function."""
    x: Value = op.arguments[0]
    if op.output.ndim == x.ndim + 1:
        return _windows(e, op)
    g = bound(op, "x kernel_size dilation=1 padding=0 stride=1")
    made = expression(
        "unfold(x, kernel_size, strides=s, padding=p, dilation=d)",
        x=e.get(x, channels_last(4)),
        kernel_size=each(g["kernel_size"], 2),
        **_settings(g),
    )
    return made, (0, 2, 1)


def _settings(g: dict[str, Any]) -> dict[str, Any]:
    stride, padding, dilation = (each(g[key], 2) for key in ("stride", "padding", "dilation"))
    return {
        "s": unless({*stride} == {1}, stride),
        "p": unless({*padding} == {0}, padding),
        "d": unless({*dilation} == {1}, dilation),
    }


def _windows(e: Emitter, op: Operation) -> Result:
    """Writes windows of one axis; what is in them becomes the last axis."""
    g = bound(op, "x dimension size step")
    x, axis = g["x"], g["dimension"] % g["x"].ndim
    order = e.order(x)
    at = order.index(axis)
    count: Any = op.output.shape[axis]
    if count != op.output.other_shape[axis]:
        count = expression("(x.shape[a] - n) // s + 1", x=e.get(x), a=at, n=g["size"], s=g["step"])
    first = expression("jnp.arange(n)[:, None]", n=count)
    if g["step"] != 1:
        first = expression("s * i", s=g["step"], i=first)
    made = expression(
        "jnp.take(x, first + jnp.arange(n), axis=a)", x=e.get(x), first=first, n=g["size"], a=at
    )
    return made, (*order[: at + 1], x.ndim, *order[at + 1 :])


def fold(e: Emitter, op: Operation) -> Result:
    """Writes the sum of windows where they overlap."""
    g = bound(op, "x output_size kernel_size dilation=1 padding=0 stride=1")
    made = expression(
        "fold(x, output_size, kernel_size, strides=s, padding=p, dilation=d)",
        x=e.get(g["x"], (0, 2, 1)),
        output_size=e.tree(each(g["output_size"], 2)),
        kernel_size=each(g["kernel_size"], 2),
        **_settings(g),
    )
    return made, channels_last(4)


FUNCTIONS: dict[str, Handler] = {
    "pixel_shuffle": shuffle("pixel_shuffle"),
    "pixel_unshuffle": shuffle("pixel_unshuffle"),
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), shuffle("channel_shuffle")),
    "unfold": unfold,
    "fold": fold,
}
