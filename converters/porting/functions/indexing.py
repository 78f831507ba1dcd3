"""Parts of arrays, and arrays of parts."""

import ast
import math
from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    plain,
)
from converters.porting.expressions import DROP, expression
from converters.porting.functions.advanced import by_arrays
from converters.porting.graph import Operation, Value, bound
from converters.porting.homes import is_constant
from converters.porting.unify import Varying

ARITHMETIC = {
    **dict.fromkeys(("add", "__add__", "__radd__"), "a + b"),
    **dict.fromkeys(("sub", "__sub__"), "a - b"),
    **dict.fromkeys(("rsub", "__rsub__"), "b - a"),
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), "a * b"),
}


def spread(index: Any, ndim: int) -> list[Any]:
    """Returns an index as a list that has a part for each axis, and None for each new one."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(
        each.ndim if isinstance(each, Value) and each.dtype == "bool" else 1
        for each in parts
        if each is not None and each is not Ellipsis
    )
    at = next((i for i, each in enumerate(parts) if each is Ellipsis), None)
    missing = [slice(None)] * (ndim - used)
    if at is None:
        return [*parts, *missing]
    return [*parts[:at], *missing, *parts[at + 1 :]]


def getitem(e: Emitter, op: Operation) -> Result:
    """Writes an index: parts of axes where they lie, or arrays of indices."""
    x, index = op.arguments
    parts = spread(index, x.ndim)
    if len(parts) == x.ndim and isinstance(parts[0], Value) and parts[1:] == [slice(None)] * (x.ndim - 1):
        return expression("x[i]", x=e.plain(x), i=e.plain(parts[0])), plain(op.output.ndim)
    if any(isinstance(p, Value | list) for p in parts):
        return by_arrays(e, op, parts, index_text)
    order = e.order(x)
    if None in parts:
        order = plain(x.ndim)
        laid = plain(op.output.ndim)
        text, named = index_text(e, parts)
        return expression(f"x[{text}]", x=e.get(x, order), **named), laid
    moved = [parts[axis] for axis in order]
    while moved and moved[-1] == slice(None):
        moved.pop()
    left = [axis for axis in order if isinstance(parts[axis], slice)]
    laid = tuple(sorted(left).index(axis) for axis in left)
    if not moved:
        return e.get(x), laid
    text, named = index_text(e, moved)
    return expression(f"x[{text}]", x=e.get(x), **named), laid


def index_text(e: Emitter, parts: list[Any]) -> tuple[str, dict[str, Any]]:
    """Returns what stands between the brackets of an index, and what the names in it stand for."""
    named: dict[str, Any] = {}

    def shown(value: Any) -> str:
        if value is None:
            return ""
        name = f"i{len(named)}"
        if isinstance(value, ast.expr):
            named[name] = value
        else:
            named[name] = e.plain(value) if isinstance(value, Value) else e.tree(value)
        return name

    texts = []
    for part in parts:
        if part is None:
            texts.append("None")
        elif isinstance(part, slice):
            start, stop, step = (_whole(e, end) for end in (part.start, part.stop, part.step))
            texts.append(
                f"{shown(start)}:{shown(stop)}" + (f":{shown(step)}" if part.step not in (None, 1) else "")
            )
        else:
            texts.append(shown(part))
    return ", ".join(texts), named


def _whole(e: Emitter, end: Any) -> Any:
    """Returns the end of a part; one that is a tensor made of sizes, as an expression of these.

    Raises:
        ConversionError: it depends on other numbers.
    """
    if not isinstance(end, Value):
        return end
    if is_constant(end):
        return int(end.constant)
    made = next((each for each in e.code.scope.operations if each.output is end), None)
    if made is not None and made.function in ("tensor", "as_tensor"):
        return e.size(made.arguments[0])
    if made is not None and made.function in ARITHMETIC:
        a, b = (_whole(e, each) for each in made.arguments[:2])
        a, b = (each if isinstance(each, ast.expr) else e.size(each) for each in (a, b))
        return expression(ARITHMETIC[made.function], a=a, b=b)
    raise ConversionError(
        f"{e.where}a part of an array ends where the numbers of a tensor say, and JAX needs to know each "
        "shape before; write it with torch.where or a mask of the full shape."
    )


def split(e: Emitter, op: Operation) -> Any:
    """Writes pieces of one axis."""
    g = (
        bound(op, "x n dim=0")
        if len(op.arguments) > 1
        else {"x": op.arguments[0], "dim": op.keywords.get("dim", 0)}
    )
    x = g["x"]
    outs = op.output
    axis = e.axis(x, g["dim"])
    sizes = [o.shape[g["dim"] % x.ndim] for o in outs]
    others = [o.other_shape[g["dim"] % x.ndim] for o in outs]
    if len({*sizes}) == 1 and len({*others}) == 1:
        where: Any = len(outs)
    else:
        ends = [(sum(sizes[: i + 1]), sum(others[: i + 1])) for i in range(len(sizes) - 1)]
        where = [e.size(one if one == two else Varying(one, two, ())) for one, two in ends]
    return [
        (expression("jnp.split(x, where, axis=a)", x=e.get(x), where=where, a=axis), [e.order(x)] * len(outs))
    ]


def unbind(e: Emitter, op: Operation) -> Any:
    """Writes the slices of one axis."""
    g = bound(op, "x dim=0")
    x, dim = g["x"], g["dim"] % g["x"].ndim
    order = e.order(x)
    left = [a for a in order if a != dim]
    laid = tuple(sorted(left).index(a) for a in left)
    where = order.index(dim)
    index = ", ".join([":"] * where)
    return [
        (expression(f"x[{index + ', ' if index else ''}i]", x=e.get(x), i=i), laid)
        for i in range(len(op.output))
    ]


def cat(e: Emitter, op: Operation) -> Result:
    """Writes arrays joined along an axis."""
    tensors = op.arguments[0] if op.arguments else op.keywords["tensors"]
    dim = op.arguments[1] if len(op.arguments) > 1 else op.keywords.get("dim", op.keywords.get("axis", 0))
    largest = max(tensors, key=lambda each: math.prod(each.shape))
    order = e.order(largest)
    axis = order.index(dim % largest.ndim)
    return expression(
        "jnp.concatenate(xs, axis=a)",
        xs=e.sequence(tensors, order),
        a=-1 if axis == largest.ndim - 1 else axis,
    ), order


def stack(e: Emitter, op: Operation) -> Result:
    """Writes arrays joined along a new axis."""
    g = bound(op, "xs dim=0")
    xs, dim = g["xs"], g["dim"] % (g["xs"][0].ndim + 1)
    return expression("jnp.stack(xs, axis=a)", xs=[e.plain(x) for x in xs], a=dim), plain(xs[0].ndim + 1)


def roll(e: Emitter, op: Operation) -> Result:
    """Writes axes shifted around."""
    g = bound(op, "x shifts dims=None")
    x, several = g["x"], isinstance(g["shifts"], tuple | list)
    dims = g["dims"] if several else [g["dims"]]
    where = tuple(e.order(x).index(d % x.ndim) for d in dims)
    return expression(
        "jnp.roll(x, shifts, axis=a)",
        x=e.get(x),
        shifts=tuple(g["shifts"]) if several else g["shifts"],
        a=where if several else where[0],
    ), e.order(x)


def pad(e: Emitter, op: Operation) -> Result:
    """Writes padding; where it is negative, what is cut off."""
    g = bound(op, "x pad mode='constant' value=None")
    x, order = g["x"], e.order(g["x"])
    widths: list[Any] = [(0, 0)] * x.ndim
    cuts: list[Any] = [slice(None)] * x.ndim
    for index in range(len(g["pad"]) // 2):
        axis, pair = x.ndim - 1 - index, g["pad"][2 * index : 2 * index + 2]
        widths[axis] = tuple(e.tree(p) if isinstance(p, Varying) else max(int(p), 0) for p in pair)
        before, after = (0 if isinstance(p, Varying) else min(int(p), 0) for p in pair)
        cuts[axis] = slice(-before or None, after or None)
    made = e.get(x)
    if any(cut != slice(None) for cut in cuts):
        text, named = index_text(e, [cuts[axis] for axis in order])
        made = expression(f"x[{text}]", x=made, **named)
    if not any(any(pair) for pair in widths):
        return made, order
    modes = {"constant": DROP, "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    value = g["value"] or 0
    return expression(
        "jnp.pad(x, widths, mode=m, constant_values=v)",
        x=made,
        widths=tuple(widths[a] for a in order),
        m=modes[g["mode"]],
        v=value if value else DROP,
    ), order


def part_of(e: Emitter, op: Operation, dim: int, index: Any) -> Result:
    """Writes an index of one axis."""
    x = op.arguments[0]
    parts = [slice(None)] * x.ndim
    parts[dim % x.ndim] = index
    made = Operation(function="__getitem__", arguments=[x, tuple(parts)], keywords={}, output=op.output)
    return getitem(e, made)


def select(e: Emitter, op: Operation) -> Result:
    """Writes one slice of an axis."""
    g = bound(op, "x dim index")
    return part_of(e, op, g["dim"], g["index"])


def narrow(e: Emitter, op: Operation) -> Result:
    """Writes a range of an axis."""
    g = bound(op, "x dim start length")
    start, length = e.size(g["start"]), e.size(g["length"])
    if not isinstance(g["length"], Varying) and not isinstance(g["start"], Varying):
        return part_of(e, op, g["dim"], slice(g["start"], g["start"] + g["length"]))
    stop = length if g["start"] == 0 else expression("a + b", a=start, b=length)
    return part_of(e, op, g["dim"], slice(start, stop))


def diff(e: Emitter, op: Operation) -> Result:
    """Writes differences of neighbors."""
    g = bound(op, "x n=1 dim=-1 prepend=None append=None")
    x = g["x"]
    ends = {name: g[name] for name in ("prepend", "append") if g[name] is not None}
    return expression(
        "jnp.diff(x, n=n, axis=a, prepend=p, append=b)",
        x=e.plain(x),
        n=DROP if g["n"] == 1 else g["n"],
        a=DROP if g["dim"] in (-1, x.ndim - 1) else g["dim"] % x.ndim,
        p=e.plain(ends["prepend"]) if "prepend" in ends else DROP,
        b=e.plain(ends["append"]) if "append" in ends else DROP,
    ), plain(x.ndim)


def meshgrid(e: Emitter, op: Operation) -> Any:
    """Writes the coordinates of a grid."""
    given = op.arguments[0] if isinstance(op.arguments[0], tuple | list) else op.arguments
    made = expression("jnp.meshgrid(indexing=i)", i=op.keywords.get("indexing", "ij"))
    assert isinstance(made, ast.Call)
    made.args = [e.plain(each) for each in given]
    return [(made, [plain(len(given))] * len(given))]


FUNCTIONS: dict[str, Handler] = {
    "select": select,
    "narrow": narrow,
    "diff": diff,
    "meshgrid": meshgrid,
    "__getitem__": getitem,
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split"), split),
    "unbind": unbind,
    **dict.fromkeys(("cat", "concat", "concatenate"), cat),
    "stack": stack,
    "roll": roll,
    "pad": pad,
}
