"""Arithmetic and functions of single numbers."""

import ast
import math
from collections.abc import Sequence
from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import (
    Emitter,
    Handler,
    Order,
    Result,
    plain,
)
from converters.porting.expressions import expression
from converters.porting.graph import Operation, Value, bound


def unary(template: str, names: str = "x") -> Handler:
    """Returns the handler of a function of one array, by a template."""

    def handler(e: Emitter, op: Operation) -> Result:
        given = bound(op, names) if op.arguments else {}
        x = given.pop("x")
        return expression(template, x=e.get(x), **{k: e.tree(v) for k, v in given.items()}), e.order(x)

    return handler


def together(e: Emitter, given: Sequence[Any]) -> tuple[list[ast.expr], Order]:
    """Returns operands that are broadcast, in the order of axes of the largest of them."""
    tensors = [each for each in given if isinstance(each, Value)]
    ndim = max(each.ndim for each in tensors)
    largest = max(tensors, key=lambda each: (each.ndim == ndim, not each.parameter, math.prod(each.shape)))
    order = e.order(largest)
    return [aligned(e, each, order) if isinstance(each, Value) else e.tree(each) for each in given], order


def aligned(e: Emitter, x: Value, order: Order) -> ast.expr:
    """Returns an operand so that it broadcasts to an array of an order of axes."""
    ndim, missing = len(order), len(order) - x.ndim
    if x.ndim == ndim and e.order(x) == order:
        return e.get(x)
    long = [
        axis
        for axis in range(x.ndim)
        if x.shape[axis] != 1 or x.other_shape[axis : axis + 1] not in ((), (1,))
    ]
    if len(long) == 1 < x.ndim:  # a vector, whose other axes are there to be broadcast
        behind = ndim - 1 - order.index(long[0] + missing)
        return expression("x.reshape(s)", x=e.get(x), s=(-1, *(1,) * behind) if behind else -1)
    if x.ndim == ndim:
        return e.get(x, order)
    if (
        x.ndim == 0
        or order == plain(ndim)
        or order[missing:] == tuple(range(missing, ndim)) == order[-x.ndim :]
    ):
        return e.plain(x)
    # Axes of its own, where they lie in the other; axes that it lacks are 1.
    wide = tuple(slice(None) if axis >= missing else None for axis in order)
    own = tuple(axis - missing for axis in order if axis >= missing)
    first = next(i for i, part in enumerate(wide) if part is not None)
    shown = wide[first:]
    index = ", ".join(":" if part is not None else "None" for part in shown)
    laid = e.get(x, own)
    return expression(f"x[{index}]", x=laid) if None in shown else laid


def binary(template: str) -> Handler:
    """Returns the handler of a function of two operands that are broadcast."""

    def handler(e: Emitter, op: Operation) -> Result:
        given = [*op.arguments[:2]] or [*op.keywords.values()][:2]
        if len(given) == 1:
            given.append(op.keywords["other"])
        if not any(isinstance(each, Value) for each in given):
            raise ConversionError(f"{e.where}{op.function} of no tensors")
        (a, b), order = together(e, given)
        scale = op.keywords.get("alpha", 1)
        if scale != 1:
            b = expression("s * b", s=scale, b=b)
        return expression(template, a=a, b=b), order

    return handler


def addcmul(e: Emitter, op: Operation) -> Result:
    """Writes a sum with a product or a quotient."""
    g = bound(op, "x a b value=1")
    (x, a, b), order = together(e, [g["x"], g["a"], g["b"]])
    made = expression("a / b" if "div" in op.function else "a * b", a=a, b=b)
    if g["value"] != 1:
        made = expression("v * y", v=e.tree(g["value"]), y=made)
    return expression("x + y", x=x, y=made), order


FUNCTIONS: dict[str, Handler] = {
    **{name: binary("a + b") for name in ("add", "add_", "__add__", "__iadd__", "__radd__")},
    **{name: binary("a - b") for name in ("sub", "sub_", "__sub__")},
    **{name: binary("b - a") for name in ("rsub", "__rsub__")},
    **{name: binary("a * b") for name in ("mul", "mul_", "__mul__", "__rmul__", "multiply")},
    **{name: binary("a / b") for name in ("div", "div_", "__truediv__", "true_divide")},
    **{name: binary("a ** b") for name in ("pow", "__pow__")},
    **dict.fromkeys(("addcmul", "addcdiv"), addcmul),
    "exp": unary("jnp.exp(x)"),
    "sqrt": unary("jnp.sqrt(x)"),
    "rsqrt": unary("jax.lax.rsqrt(x)"),
}
