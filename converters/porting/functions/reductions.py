"""Sums, means and other functions of whole axes."""

from typing import Any

from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
)
from converters.porting.expressions import DROP, expression
from converters.porting.graph import Operation, Value, bound


def axes_of(x: Value, dim: Any) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(x.ndim))
    return tuple(d % x.ndim for d in (dim if isinstance(dim, tuple | list) else (dim,)))


def reduction(name: str) -> Handler:
    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x dim=None keepdim=False")
        x, order = g["x"], e.order(g["x"])
        axes = axes_of(x, g["dim"])
        where: Any = tuple(sorted(order.index(a) for a in axes))
        if len(where) == 1:
            where = e.axis(x, axes[0])
        made = expression(
            f"x.{name}(axes, keepdims=k)" if g["dim"] is not None else f"x.{name}()",
            x=e.get(x),
            axes=where,
            k=True if g["keepdim"] else DROP,
        )
        if g["keepdim"]:
            return made, order
        left = [a for a in order if a not in axes]
        return made, tuple(sorted(left).index(a) for a in left)

    return handler


FUNCTIONS: dict[str, Handler] = {
    "mean": reduction("mean"),
    "sum": reduction("sum"),
}
