"""Changes of a tensor in place, as the array that it is afterwards."""

from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Order, Result, plain
from converters.porting.expressions import expression
from converters.porting.functions.elementwise import aligned
from converters.porting.functions.indexing import index_text, spread
from converters.porting.graph import Operation, Value, bound


def setitem(e: Emitter, op: Operation) -> Result:
    """Writes `x[index] = y`."""
    x, index, y = op.arguments
    parts = spread(index, x.ndim)
    if any(isinstance(each, Value) and each.dtype == "bool" for each in parts):
        return _masked(e, x, parts, y)
    simple = all(isinstance(each, slice | int) for each in parts)
    order = e.order(x) if simple else plain(x.ndim)
    moved = [parts[axis] for axis in order] if simple else parts
    while simple and moved and moved[-1] == slice(None):
        moved.pop()
    text, named = index_text(e, moved)
    left = [axis for axis in order if simple and isinstance(parts[axis], slice)]
    laid = tuple(sorted(left).index(axis) for axis in left)
    put = _laid(e, y, laid) if simple else e.tree(y)
    if isinstance(y, Value) and not simple:
        put = e.plain(y)
    return expression(f"x.at[{text or '...'}].set(y)", x=e.get(x, order), y=put, **named), order


def _laid(e: Emitter, y: Any, order: Order) -> Any:
    """Returns what is put into a part whose axes have an order."""
    if not isinstance(y, Value):
        return e.tree(y)
    if y.ndim > len(order):  # of leading axes of size 1
        raise ConversionError(f"{e.where}puts an array of {y.ndim} axes into one of {len(order)}")
    return aligned(e, y, order)


def _masked(e: Emitter, x: Value, parts: list[Any], y: Any) -> Result:
    mask, rest = parts[0], parts[1:]
    if not isinstance(mask, Value) or any(each != slice(None) for each in rest):
        raise ConversionError(f"{e.where}indexing by a mask and by something else")
    if isinstance(y, Value) and y.ndim and max(y.shape) > 1:
        raise ConversionError(
            f"{e.where}puts as many numbers as a mask says, which JAX cannot know before; use torch.where"
        )
    wide = f"m[{', '.join(['...'] + ['None'] * len(rest))}]" if rest else "m"
    return expression(f"jnp.where({wide}, y, x)", m=e.plain(mask), y=e.tree(y), x=e.plain(x)), plain(x.ndim)


def copy(e: Emitter, op: Operation) -> Result:
    """Writes `x.copy_(y)`."""
    g = bound(op, "x y non_blocking=False")
    x, y = g["x"], g["y"]
    order = e.order(y) if y.ndim == x.ndim else e.order(x)
    made = aligned(e, y, order)
    if y.dtype != x.dtype:
        made = expression("y.astype(x.dtype)", y=made, x=e.get(x))
    if (y.shape, y.other_shape) != (x.shape, x.other_shape):
        made = expression("jnp.broadcast_to(y, x.shape)", y=made, x=e.get(x, order))
    return made, order


def filled(e: Emitter, op: Operation) -> Result:
    """Writes `x.fill_(value)` and `x.zero_()`."""
    x, *value = [*op.arguments, *op.keywords.values()]
    number = value[0] if value else 0
    like = "jnp.zeros_like(x)" if not value else "jnp.full_like(x, v)"
    return expression(like, x=e.get(x), v=e.tree(number)), e.order(x)


FUNCTIONS: dict[str, Handler] = {
    "__setitem__": setitem,
    "copy_": copy,
    **dict.fromkeys(("fill_", "zero_"), filled),
}
