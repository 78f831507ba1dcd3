"""Layers without arrays."""

from torch import nn

from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    input_of,
)
from converters.porting.expressions import expression
from converters.porting.functions.dropouts import alpha_dropped, channels, dropped
from converters.porting.functions.modes import mode
from converters.porting.functions.pooling import FUNCTIONS as POOLING
from converters.porting.functions.shapes import FUNCTIONS as SHAPES
from converters.porting.graph import Operation
from converters.porting.surroundings import DropPath


def dropout(e: Emitter, op: Operation) -> Result:
    """Writes dropout of single numbers."""
    return dropped(e, input_of(op), op.module.p, (), mode(e, op))


def dropout_of_channels(e: Emitter, op: Operation) -> Result:
    """Writes dropout of whole channels."""
    x = input_of(op)
    together = channels(op.kind.__name__.lower() if op.kind else "", x.ndim)
    return dropped(e, x, op.module.p, together, mode(e, op))


def alpha_dropout(e: Emitter, op: Operation) -> Result:
    """Writes the dropout that goes with SELU, of single numbers or of whole channels."""
    x = input_of(op)
    whole = op.kind is nn.FeatureAlphaDropout
    return alpha_dropped(e, x, op.module.p, channels("", x.ndim) if whole else (), mode(e, op))


def drop_path(e: Emitter, op: Operation) -> Result:
    """Writes dropout of whole examples, or of the whole batch."""
    m, x = op.module, input_of(op)
    rate = getattr(m, "p", None) or getattr(m, "drop_prob", None)
    first = 0 if getattr(m, "mode", "row") == "batch" else 1
    trains = mode(e, op)
    made, order = dropped(e, x, rate, range(first, x.ndim), trains)
    if rate and trains != "False" and not getattr(m, "scale_by_keep", True):  # what is kept stays as it is
        made = expression("d * (1 - rate)", d=made, rate=rate)
        made = made if trains == "True" else expression("d if train else x", d=made, x=e.get(x))
    return made, order


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
    **dict.fromkeys((nn.AlphaDropout, nn.FeatureAlphaDropout), alpha_dropout),
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
