"""Reshaping, and moving of axes: most of it writes nothing, and changes the order in which axes lie."""

import ast
from typing import Any

from converters.porting.emit import (
    Emitter,
    Handler,
    Order,
    Result,
    plain,
    size_of,
)
from converters.porting.expressions import expression
from converters.porting.functions.reductions import axes_of
from converters.porting.graph import Operation, Value, bound
from converters.porting.unify import Varying


def reshape(e: Emitter, op: Operation) -> Result:
    """Writes a shape given as numbers, or as one tuple."""
    x, *rest = op.arguments
    rest = rest or ([op.keywords["shape"]] if "shape" in op.keywords else [-1])
    shape = rest[0] if rest and isinstance(rest[0], tuple | list) else rest
    return reshaped(e, op, x, list(shape))


def flatten(e: Emitter, op: Operation) -> Result:
    """Writes several axes as one."""
    if op.module is not None:
        g = {"x": op.arguments[0], "start_dim": op.module.start_dim, "end_dim": op.module.end_dim}
    else:
        g = bound(op, "x start_dim=0 end_dim=-1")
    x = g["x"]
    first, last = g["start_dim"] % x.ndim, g["end_dim"] % x.ndim
    sizes = [size_of(x, axis) for axis in range(x.ndim)]
    return reshaped(e, op, x, [*sizes[:first], -1, *sizes[last + 1 :]])


def unflatten(e: Emitter, op: Operation) -> Result:
    """Writes one axis as several."""
    x, dim, sizes = op.arguments
    before = [size_of(x, axis) for axis in range(x.ndim)]
    return reshaped(e, op, x, [*before[: dim % x.ndim], *sizes, *before[dim % x.ndim + 1 :]])


def reshaped(e: Emitter, op: Operation, x: Value, wanted: list[Any]) -> Result:
    """Splits and merges axes where they lie, or after a transpose where that cannot be."""
    out: Value = op.output
    pairs = [*zip(x.shape, x.other_shape, strict=True)], [*zip(out.shape, out.other_shape, strict=True)]
    groups = _groups(*pairs)
    order = e.order(x)
    laid = _kept(groups, order, pairs[0])
    if laid is None:
        order, laid = _together(groups, order, pairs[0])
    sizes = [
        size if not isinstance(given, Varying) and given != -1 else given
        for given, size in zip(wanted, out.shape, strict=True)
    ]
    made = expression("x.reshape(s)", x=e.get(x, order), s=0)
    assert isinstance(made, ast.Call)
    made.args = [e.size(size) for size in _settled([sizes[axis] for axis in laid], out, laid)]
    return made, laid


def _settled(sizes: list[Any], out: Value, laid: Order) -> list[Any]:
    """Returns sizes of which one at most is -1: the one that varies, if it is alone."""
    varying = [index for index, size in enumerate(sizes) if isinstance(size, Varying)]
    if -1 not in sizes and len(varying) == 1:
        sizes[varying[0]] = -1
    elif -1 in sizes and not varying:
        axis = laid[sizes.index(-1)]
        if out.shape[axis] == out.other_shape[axis]:
            sizes[sizes.index(-1)] = out.shape[axis]
    return sizes


def _groups(before: list[Any], after: list[Any]) -> list[tuple[list[int], list[int]]]:
    """Returns groups of axes with the same numbers in them, before and after, at both sizes."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        ins: list[int] = []
        outs: list[int] = []
        a, b = (1, 1), (1, 1)
        while (not ins and not outs) or a != b:
            if (a[0] <= b[0] and i < len(before) and not (outs == [] and ins)) or j >= len(after):
                if i >= len(before):
                    break
                a = (a[0] * before[i][0], a[1] * before[i][1])
                ins.append(i)
                i += 1
            else:
                b = (b[0] * after[j][0], b[1] * after[j][1])
                outs.append(j)
                j += 1
        groups.append((ins, outs))
    return groups


def _kept(groups: Any, order: Order, sizes: Any) -> Order | None:
    """Returns the order after, if the axes of each group lie together; None where they do not."""
    places = []
    for ins, outs in groups:
        lying = [order.index(axis) for axis in ins if sizes[axis] != (1, 1)]
        if lying != [*range(lying[0], lying[0] + len(lying))] if lying else False:
            between = [a for a in order[min(lying) : max(lying) + 1] if sizes[a] != (1, 1)]
            if [order.index(a) for a in between] != lying or sorted(lying) != lying:
                return None
        places.append((lying[0] if lying else (order.index(ins[0]) if ins else len(order)), outs))
    return tuple(axis for _, outs in sorted(places, key=lambda each: each[0]) for axis in outs)


def _together(groups: Any, order: Order, sizes: Any) -> tuple[Order, Order]:
    """Returns the order in which the axes of each group lie together, and the order after.

    A group lies where the last of its axes in memory does: features stay last.
    """
    places = []
    for ins, outs in groups:
        lying = [order.index(axis) for axis in ins if sizes[axis] != (1, 1)] or [*map(order.index, ins)]
        places.append((max(lying, default=len(order)), ins, outs))
    places.sort(key=lambda each: each[0])
    before = tuple(axis for _, ins, _ in places for axis in ins)
    return before, tuple(axis for *_, outs in places for axis in outs)


def permute(e: Emitter, op: Operation) -> Result:
    """Moves axes, which writes nothing."""
    x, *rest = op.arguments
    dims = rest[0] if rest and isinstance(rest[0], tuple | list) else rest or op.keywords["dims"]
    dims = [d % x.ndim for d in dims]
    return e.get(x), tuple(dims.index(axis) for axis in e.order(x))


def transpose(e: Emitter, op: Operation) -> Result:
    """Swaps two axes, which writes nothing."""
    g = bound(op, "x dim0 dim1")
    x = g["x"]
    dims = [*range(x.ndim)]
    a, b = g["dim0"] % x.ndim, g["dim1"] % x.ndim
    dims[a], dims[b] = b, a
    return e.get(x), tuple(dims.index(axis) for axis in e.order(x))


def same(e: Emitter, op: Operation) -> Result:
    """Writes nothing: the array is itself."""
    x = op.arguments[0]
    return e.get(x), e.order(x)


def expand(e: Emitter, op: Operation) -> Result:
    """Broadcasts to a shape."""
    x, *rest = op.arguments
    shape = rest[0] if isinstance(rest[0], tuple | list) else rest
    out = op.output
    sizes = [size_of(out, axis) if s == -1 else s for axis, s in enumerate(shape)]
    sizes = [s if isinstance(s, Varying) else out.shape[a] for a, s in enumerate(sizes)]
    if any(s == -1 for s in shape):
        sizes = [size_of(x, a - out.ndim + x.ndim) if s == -1 else sizes[a] for a, s in enumerate(shape)]
    return expression("jnp.broadcast_to(x, s)", x=e.plain(x), s=tuple(e.size(s) for s in sizes)), plain(
        out.ndim
    )


def unsqueeze(e: Emitter, op: Operation) -> Result:
    """Adds an axis of size 1."""
    g = bound(op, "x dim")
    x, dim = g["x"], g["dim"] % (g["x"].ndim + 1)
    order = tuple(a + (a >= dim) for a in e.order(x))
    return expression("jnp.expand_dims(x, a)", x=e.get(x), a=dim), (*order[:dim], dim, *order[dim:])


def squeeze(e: Emitter, op: Operation) -> Result:
    """Drops axes of size 1; which, both runs agree on."""
    g = bound(op, "x dim=None")
    x = g["x"]
    axes = [a for a in axes_of(x, g["dim"]) if x.shape[a] == x.other_shape[a] == 1]
    order = e.order(x)
    where = tuple(sorted(order.index(a) for a in axes))
    left = [a for a in order if a not in axes]
    laid = tuple(sorted(left).index(a) for a in left)
    if not where:
        return e.get(x), order
    return expression("x.squeeze(a)", x=e.get(x), a=where[0] if len(where) == 1 else where), laid


def swapped(first: int, second: int) -> Handler:
    """Returns the handler of a function that always swaps the same two axes; of vectors, nothing."""

    def handler(e: Emitter, op: Operation) -> Result:
        x = op.arguments[0]
        if x.ndim < 2:
            return e.get(x), e.order(x)
        moved = Operation(function="transpose", arguments=[x, first, second], keywords={})
        return transpose(e, moved)

    return handler


def reverse(e: Emitter, op: Operation) -> Result:
    """Writes Tensor.T."""
    x = op.arguments[0]
    return e.get(x), tuple(x.ndim - 1 - axis for axis in e.order(x))


def movedim(e: Emitter, op: Operation) -> Result:
    """Moves axes to other places."""
    g = bound(op, "x source destination")
    x = g["x"]
    source, destination = (axes_of(x, g[name]) for name in ("source", "destination"))
    left = [axis for axis in range(x.ndim) if axis not in source]
    for axis, at in sorted(zip(source, destination, strict=True), key=lambda pair: pair[1]):
        left.insert(at, axis)
    return e.get(x), tuple(left.index(axis) for axis in e.order(x))


def expand_as(e: Emitter, op: Operation) -> Result:
    """Broadcasts to the shape of another array."""
    x, other = op.arguments[0], op.arguments[1] if len(op.arguments) > 1 else op.keywords["other"]
    return expression("jnp.broadcast_to(x, y.shape)", x=e.plain(x), y=e.plain(other)), plain(other.ndim)


def view_as(e: Emitter, op: Operation) -> Result:
    """Reshapes to the shape of another array."""
    x, other = op.arguments[0], op.arguments[1] if len(op.arguments) > 1 else op.keywords["other"]
    return expression("x.reshape(y.shape)", x=e.plain(x), y=e.plain(other)), plain(other.ndim)


def as_complex(e: Emitter, op: Operation) -> Result:
    """Takes the last axis as real and imaginary parts."""
    x = op.arguments[0]
    return expression("jax.lax.complex(x[..., 0], x[..., 1])", x=e.plain(x)), plain(x.ndim - 1)


def as_real(e: Emitter, op: Operation) -> Result:
    """Puts real and imaginary parts into a last axis."""
    x = op.arguments[0]
    return expression("jnp.stack([x.real, x.imag], axis=-1)", x=e.plain(x)), plain(x.ndim + 1)


FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(("t", "mT", "mH", "H"), swapped(-2, -1)),
    "T": reverse,
    **dict.fromkeys(("movedim", "moveaxis"), movedim),
    "expand_as": expand_as,
    **dict.fromkeys(("view_as", "reshape_as"), view_as),
    "view_as_complex": as_complex,
    "view_as_real": as_real,
    **dict.fromkeys(("view", "reshape", "ravel"), reshape),
    "flatten": flatten,
    "unflatten": unflatten,
    "permute": permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transpose),
    **dict.fromkeys(("contiguous", "clone", "alias", "cpu", "cuda", "requires_grad_", "lift_fresh"), same),
    **dict.fromkeys(("expand", "broadcast_to"), expand),
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
}
