"""Numbers in order: sorted ones, the largest, and where they are."""

from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import expression, only
from converters.porting.graph import Operation, Value, bound


def sort(e: Emitter, op: Operation) -> Any:
    """Writes sorted numbers and their indices; equal numbers keep their order."""
    g = bound(op, "x dim=-1 descending=False stable=False")
    x, axis = g["x"], e.axis(g["x"], g["dim"])
    down = only(g["descending"])
    values = expression("jnp.sort(x, axis=a, descending=d)", x=e.get(x), a=axis, d=down)
    indices = _argsort(e, x, axis, g["descending"])
    return [(values, e.order(x)), (indices, e.order(x))]


def _argsort(e: Emitter, x: Value, axis: int, descending: bool) -> Any:
    return expression("jnp.argsort(x, axis=a, descending=d)", x=e.get(x), a=axis, d=only(descending))


def argsort(e: Emitter, op: Operation) -> Result:
    """Writes the indices that sort."""
    g = bound(op, "x dim=-1 descending=False stable=False")
    x = g["x"]
    return _argsort(e, x, e.axis(x, g["dim"]), g["descending"]), e.order(x)


def topk(e: Emitter, op: Operation) -> Any:
    """Writes the k largest numbers and their indices, the largest first."""
    g = bound(op, "x k dim=-1 largest=True sorted=True")
    x, dim = g["x"], g["dim"] % g["x"].ndim
    if not g["largest"]:
        raise ConversionError(f"{e.where}topk of the smallest")
    order = (*(a for a in e.order(x) if a != dim), dim)
    made = expression("jax.lax.top_k(x, k)", x=e.get(x, order), k=e.size(g["k"]))
    return [(made, [order, order])]


def argument(name: str) -> Handler:
    """Returns the handler of the index of an extreme number."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x dim=None keepdim=False")
        x = g["x"]
        if g["dim"] is None:
            return expression(f"jnp.{name}(x)", x=e.plain(x)), ()
        order, dim = e.order(x), g["dim"] % x.ndim
        made = expression(
            f"jnp.{name}(x, axis=a, keepdims=k)",
            x=e.get(x),
            a=e.axis(x, dim),
            k=only(g["keepdim"]),
        )
        if g["keepdim"]:
            return made, order
        left = [a for a in order if a != dim]
        return made, tuple(sorted(left).index(a) for a in left)

    return handler


def extremes(name: str) -> Handler:
    """Returns the handler of max or min: of all, of two arrays, or along an axis with the indices."""

    def handler(e: Emitter, op: Operation) -> Any:
        from converters.porting.functions.comparison import FUNCTIONS as COMPARISON

        if (len(op.arguments) > 1 and isinstance(op.arguments[1], Value)) or "other" in op.keywords:
            return COMPARISON[f"{name}imum"](e, op)
        g = bound(op, "x dim=None keepdim=False")
        x = g["x"]
        if g["dim"] is None:
            return expression(f"x.{name}()", x=e.get(x)), ()
        order, dim = e.order(x), g["dim"] % x.ndim
        keep = only(g["keepdim"])
        made = [
            expression(f"x.{function}(axis=a, keepdims=k)", x=e.get(x), a=e.axis(x, dim), k=keep)
            for function in (name, f"arg{name}")
        ]
        left = [a for a in order if a != dim]
        laid = order if g["keepdim"] else tuple(sorted(left).index(a) for a in left)
        return [(each, laid) for each in made]

    return handler


FUNCTIONS: dict[str, Handler] = {
    "sort": sort,
    "argsort": argsort,
    "topk": topk,
    **{name: argument(name) for name in ("argmax", "argmin")},
    **{name: extremes(name) for name in ("max", "min")},
}
