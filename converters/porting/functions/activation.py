"""Activations and softmax."""

import torch

from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import DROP, expression
from converters.porting.functions.casts import widened
from converters.porting.functions.elementwise import unary
from converters.porting.graph import Operation, bound


def softmax(name: str) -> Handler:
    """Returns the handler of softmax or its logarithm."""

    def handler(e: Emitter, op: Operation) -> Result:
        if op.module is not None:
            x, dim, kind = op.arguments[0], op.module.dim, None
        else:
            g = bound(op, "x dim=None _stacklevel=3 dtype=None")
            x, dim, kind = g["x"], g["dim"], g["dtype"]
        axis = e.axis(x, dim)
        given = widened(e, op, x) if kind == torch.float32 == getattr(torch, x.dtype) else e.get(x)
        return expression(f"nn.{name}(x, axis=a)", x=given, a=DROP if axis == -1 else axis), e.order(x)

    return handler


def gelu(e: Emitter, op: Operation) -> Result:
    """Writes GELU, exact or approximated by tanh."""
    g = bound(op, "x approximate='none'")
    return expression("nn.gelu(x, approximate=a)", x=e.get(g["x"]), a=g["approximate"] == "tanh"), e.order(
        g["x"]
    )


def glu(e: Emitter, op: Operation) -> Result:
    """Writes one half of an axis, gated by the other."""
    g = bound(op, "x dim=-1")
    x = g["x"]
    axis = e.axis(x, g["dim"])
    return expression("nn.glu(x, axis=a)", x=e.get(x), a=DROP if axis == -1 else axis), e.order(x)


FUNCTIONS: dict[str, Handler] = {
    "glu": glu,
    **{name: unary("nn.relu(x)", "x inplace=False") for name in ("relu", "relu_")},
    **{name: unary("nn.silu(x)", "x inplace=False") for name in ("silu", "silu_")},
    "gelu": gelu,
    "sigmoid": unary("nn.sigmoid(x)"),
    "tanh": unary("jnp.tanh(x)"),
    "hardtanh": unary("jnp.clip(x, min_val, max_val)", "x min_val=-1.0 max_val=1.0 inplace=False"),
    "hardsigmoid": unary("nn.hard_sigmoid(x)", "x inplace=False"),
    "hardswish": unary("nn.hard_swish(x)", "x inplace=False"),
    "leaky_relu": unary("nn.leaky_relu(x, negative_slope)", "x negative_slope=0.01 inplace=False"),
    "softmax": softmax("softmax"),
    "log_softmax": softmax("log_softmax"),
}
