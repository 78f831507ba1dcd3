"""Products of matrices, and layers that are called with arrays of the module that calls them."""

from torch import nn

from converters.porting.emit import (
    Emitter,
    Handler,
    Order,
    Result,
    last,
    plain,
)
from converters.porting.expressions import expression, unless
from converters.porting.functions.owners import owner
from converters.porting.graph import Operation, Value, bound

BATCH = "bhgf"  # letters of the axes before those of the matrices


def matmul(e: Emitter, op: Operation) -> Result:
    """Writes a product of matrices: as an einsum where that saves a transpose."""
    a, b = op.arguments[0], op.arguments[1] if len(op.arguments) > 1 else op.keywords["other"]
    laid = e.order(a) == plain(a.ndim) and e.order(b) == plain(b.ndim)
    same = a.shape[:-2] == b.shape[:-2] and a.other_shape[:-2] == b.other_shape[:-2]
    if laid or not same or not 3 <= a.ndim <= 3 + len(BATCH) - 1:
        return expression("a @ b", a=e.plain(a), b=e.plain(b)), plain(op.output.ndim)
    order = _order(e, a, b)
    batch = BATCH[: a.ndim - 2]
    sides = ((f"{batch}qd", e.order(a)), (f"{batch}dk", e.order(b)), (f"{batch}qk", order))
    left, right, out = ("".join(letters[axis] for axis in lying) for letters, lying in sides)
    return expression("jnp.einsum(f, a, b)", f=f"{left},{right}->{out}", a=e.get(a), b=e.get(b)), order


def _order(e: Emitter, a: Value, b: Value) -> Order:
    """Returns how a product lies: as the factor whose columns it has, if these come last in memory."""
    columns, order = b.ndim - 1, e.order(b)
    return order if order[-1] == columns else plain(a.ndim)


def linear(e: Emitter, op: Operation) -> Result:
    """Writes a dense layer, or x @ weight.T where the weight is no layer's."""
    g = bound(op, "x weight bias=None")
    x = g["x"]
    order = last(e.order(x), x.ndim - 1)
    name = owner(e, nn.Linear, weight=g["weight"], bias=g["bias"])
    if name is not None:
        return expression(
            "nn.Dense(features, use_bias=b, name=n)(x)",
            features=g["weight"].shape[0],
            b=unless(g["bias"] is not None, value=False),
            n=name,
            x=e.get(x, order),
        ), order
    made = expression("x @ w.T", x=e.get(x, order), w=e.get(g["weight"]))
    return (expression("y + b", y=made, b=e.get(g["bias"])) if g["bias"] is not None else made), order


FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(("matmul", "bmm", "__matmul__"), matmul),
    "linear": linear,
}
