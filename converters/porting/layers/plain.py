"""Layers without arrays."""

from collections.abc import Sequence

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    input_of,
)
from converters.porting.expressions import DROP, expression
from converters.porting.functions.pooling import FUNCTIONS as POOLING
from converters.porting.functions.shapes import FUNCTIONS as SHAPES
from converters.porting.graph import Operation, Value
from converters.porting.surroundings import DropPath


def dropout(e: Emitter, op: Operation) -> Result:
    """Writes dropout of single numbers."""
    return _dropped(e, input_of(op), op.module.p, ())


def dropout_of_channels(e: Emitter, op: Operation) -> Result:
    """Writes dropout of whole channels."""
    x = input_of(op)
    batched = 1 if op.kind is nn.Dropout1d and x.ndim == 2 else 2
    return _dropped(e, x, op.module.p, range(batched, x.ndim))


def drop_path(e: Emitter, op: Operation) -> Result:
    """Writes dropout of whole examples, or of the whole batch."""
    m, x = op.module, input_of(op)
    if not getattr(m, "scale_by_keep", True):
        raise ConversionError(f"{e.where}drops without making the rest larger")
    first = 0 if getattr(m, "mode", "row") == "batch" else 1
    return _dropped(e, x, getattr(m, "p", None) or getattr(m, "drop_prob", None), range(first, x.ndim))


def _dropped(e: Emitter, x: Value, rate: float | None, together: Sequence[int]) -> Result:
    """Writes dropout in which all numbers along some of PyTorch's axes share their fate."""
    if not rate:
        return e.get(x), e.order(x)
    e.code.uses_train = True
    axes = tuple(sorted(e.order(x).index(axis) for axis in together))
    return expression(
        "nn.Dropout(rate, broadcast_dims=b)(x, deterministic=not train)",
        rate=rate,
        b=axes or DROP,
        x=e.get(x),
    ), e.order(x)


def identity(e: Emitter, op: Operation) -> Result:
    """Gives its input."""
    x = input_of(op)
    return e.get(x), e.order(x)


def pointwise(template: str) -> Handler:
    """Returns the handler of a function of single numbers, with the layer's own numbers in the template."""

    def handler(e: Emitter, op: Operation) -> Result:
        x = input_of(op)
        own = {k: v for k, v in vars(op.module).items() if isinstance(v, int | float)} if op.module else {}
        return expression(template, x=e.get(x), **own), e.order(x)

    return handler


def gelu(e: Emitter, op: Operation) -> Result:
    """Writes GELU, exact or approximated by tanh."""
    x = input_of(op)
    return expression("nn.gelu(x, approximate=a)", x=e.get(x), a=op.module.approximate == "tanh"), e.order(x)


POOLS = {
    getattr(nn, f"{name}Pool{n}d"): POOLING[f"{function}_pool{n}d"]
    for n in (1, 2, 3)
    for name, function in (
        ("Max", "max"),
        ("Avg", "avg"),
        ("AdaptiveAvg", "adaptive_avg"),
        ("AdaptiveMax", "adaptive_max"),
    )
}
LAYERS: dict[type, Handler] = {
    **POOLS,
    nn.Flatten: SHAPES["flatten"],
    nn.Identity: identity,
    nn.Dropout: dropout,
    **dict.fromkeys((nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), dropout_of_channels),
    DropPath: drop_path,
    nn.ReLU: pointwise("nn.relu(x)"),
    nn.ReLU6: pointwise("nn.relu6(x)"),
    nn.SiLU: pointwise("nn.silu(x)"),
    nn.Sigmoid: pointwise("nn.sigmoid(x)"),
    nn.Tanh: pointwise("jnp.tanh(x)"),
    nn.Hardswish: pointwise("nn.hard_swish(x)"),
    nn.Hardsigmoid: pointwise("nn.hard_sigmoid(x)"),
    nn.LeakyReLU: pointwise("nn.leaky_relu(x, negative_slope)"),
    nn.GELU: gelu,
}
