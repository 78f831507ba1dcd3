"""Layers without arrays."""

from torch import nn

from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    input_of,
)
from converters.porting.expressions import expression
from converters.porting.functions.pooling import adaptive_mean, pool
from converters.porting.functions.shapes import FUNCTIONS as SHAPES
from converters.porting.graph import Operation


def dropout(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    if not m.p:
        return e.get(x), e.order(x)
    e.code.uses_train = True
    return expression("nn.Dropout(rate)(x, deterministic=not train)", rate=m.p, x=e.get(x)), e.order(x)


def identity(e: Emitter, op: Operation) -> Result:
    x = input_of(op)
    return e.get(x), e.order(x)


def pointwise(template: str) -> Handler:
    def handler(e: Emitter, op: Operation) -> Result:
        x = input_of(op)
        own = {k: v for k, v in vars(op.module).items() if isinstance(v, int | float)} if op.module else {}
        return expression(template, x=e.get(x), **own), e.order(x)

    return handler


def max_pool(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    return pool(e, x, "max_pool", m.kernel_size, m.stride, m.padding, m.ceil_mode, m.dilation)


def avg_pool(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    return pool(e, x, "avg_pool", m.kernel_size, m.stride, m.padding, m.ceil_mode, 1)


def adaptive_avg_pool(e: Emitter, op: Operation) -> Result:
    return adaptive_mean(e, input_of(op), op.module.output_size)


def gelu(e: Emitter, op: Operation) -> Result:
    """Writes GELU, exact or approximated by tanh."""
    x = input_of(op)
    return expression("nn.gelu(x, approximate=a)", x=e.get(x), a=op.module.approximate == "tanh"), e.order(x)


LAYERS: dict[type, Handler] = {
    nn.Flatten: SHAPES["flatten"],
    nn.Identity: identity,
    nn.Dropout: dropout,
    nn.Dropout2d: dropout,
    nn.MaxPool2d: max_pool,
    nn.AvgPool2d: avg_pool,
    nn.AdaptiveAvgPool2d: adaptive_avg_pool,
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
