"""Products of matrices, and layers that are called with arrays of the module that calls them."""

from converters.errors import ConversionError
from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    plain,
)
from converters.porting.expressions import expression
from converters.porting.graph import Operation, bound


def matmul(e: Emitter, op: Operation) -> Result:
    a, b = op.arguments[0], op.arguments[1] if len(op.arguments) > 1 else op.keywords["other"]
    return expression("a @ b", a=e.plain(a), b=e.plain(b)), plain(op.output.ndim)


def linear(e: Emitter, op: Operation) -> Result:
    """A weight that is no layer's: x @ weight.T."""
    g = bound(op, "x weight bias=None")
    x, order = g["x"], e.order(g["x"])
    order = (*(a for a in order if a != x.ndim - 1), x.ndim - 1)
    made = expression("x @ w.T", x=e.get(x, order), w=e.get(g["weight"]))
    return (expression("y + b", y=made, b=e.get(g["bias"])) if g["bias"] is not None else made), order


def dot_product_attention(e: Emitter, op: Operation) -> Result:
    g = bound(op, "q k v attn_mask=None dropout_p=0.0 is_causal=False scale=None enable_gqa=False")
    if g["attn_mask"] is not None or g["is_causal"] or g["scale"] is not None or g["enable_gqa"]:
        raise ConversionError(f"{e.where}scaled_dot_product_attention with a mask")
    q, k, v = g["q"], g["k"], g["v"]
    if q.ndim != 4:
        raise ConversionError(f"{e.where}scaled_dot_product_attention of {q.ndim} axes")
    order = (0, 2, 1, 3)
    return expression(
        "nn.dot_product_attention(q, k, v)", q=e.get(q, order), k=e.get(k, order), v=e.get(v, order)
    ), order


FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(("matmul", "bmm", "__matmul__"), matmul),
    "linear": linear,
    "scaled_dot_product_attention": dot_product_attention,
}
