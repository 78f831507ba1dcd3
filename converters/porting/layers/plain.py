"""Layers without arrays."""

from torch import nn

from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    input_of,
)
from converters.porting.expressions import expression
from converters.porting.functions.pooling import FUNCTIONS as POOLING
from converters.porting.functions.shapes import FUNCTIONS as SHAPES
from converters.porting.graph import Operation


def dropout(e: Emitter, op: Operation) -> Result:
    """Writes dropout."""
    m, x = op.module, input_of(op)
    if not m.p:
        return e.get(x), e.order(x)
    e.code.uses_train = True
    return expression("nn.Dropout(rate)(x, deterministic=not train)", rate=m.p, x=e.get(x)), e.order(x)


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
    nn.Dropout2d: dropout,
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
