"""Numbers picked by arrays of indices, sorted, counted and summed along an axis."""

import torch

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, plain
from converters.porting.expressions import DROP, expression, only, unless
from converters.porting.functions.casts import dtype
from converters.porting.graph import Operation, Value, bound


def gather(e: Emitter, op: Operation) -> Result:
    """Writes torch.gather; the other axes of the index may be shorter than the array's."""
    g = bound(op, "x dim index")
    x, index, dim = g["x"], g["index"], g["dim"] % g["x"].ndim
    shorter = [
        axis
        for axis in range(x.ndim)
        if axis != dim
        and (x.shape[axis], x.other_shape[axis]) != (index.shape[axis], index.other_shape[axis])
    ]
    array = e.plain(x)
    if shorter:
        parts = ", ".join(f":i{axis}" if axis in shorter else ":" for axis in range(x.ndim))
        array = expression(
            f"x[{parts}]",
            x=array,
            **{f"i{a}": expression("i.shape[a]", i=e.plain(index), a=a) for a in shorter},
        )
    return expression(
        "jnp.take_along_axis(x, index, axis=a)", x=array, index=e.plain(index), a=_last(dim, x.ndim)
    ), plain(x.ndim)


def _last(dim: int, ndim: int) -> int:
    return -1 if dim == ndim - 1 else dim


def index_select(e: Emitter, op: Operation) -> Result:
    """Writes whole slices at indices along one axis."""
    g = bound(op, "x dim index")
    x, dim = g["x"], g["dim"] % g["x"].ndim
    return expression("jnp.take(x, i, axis=a)", x=e.plain(x), i=e.plain(g["index"]), a=dim), plain(x.ndim)


def embedding(e: Emitter, op: Operation) -> Result:
    """Writes rows of a table that is no layer's."""
    names = (
        "indices weight padding_idx=None max_norm=None norm_type=2.0 scale_grad_by_freq=False sparse=False"
    )
    g = bound(op, names)
    if g["max_norm"] is not None:
        raise ConversionError(f"{e.where}embedding with max_norm changes its table")
    x = g["indices"]
    return expression("w[x]", w=e.plain(g["weight"]), x=e.plain(x)), plain(x.ndim + 1)


def take(e: Emitter, op: Operation) -> Result:
    """Writes torch.take, of the flattened array."""
    x, index = op.arguments[0], op.arguments[1]
    return expression("x.reshape(-1)[i]", x=e.plain(x), i=e.plain(index)), plain(index.ndim)


def scatter(method: str) -> Handler:
    """Returns the handler of numbers put, or added, where an index says along one axis."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x dim index src=None value=None reduce=None")
        x, dim, index = g["x"], g["dim"] % g["x"].ndim, g["index"]
        given = g["src"] if g["src"] is not None else g["value"]
        if g["reduce"] is not None:
            raise ConversionError(f"{e.where}scatter with reduce={g['reduce']!r}")
        if isinstance(given, Value) and given.ndim and given.shape != index.shape:
            raise ConversionError(f"{e.where}scatter of more numbers than indices")
        made = expression(
            "jnp.put_along_axis(x, index, v, axis=a, inplace=False)",
            x=e.plain(x),
            index=e.plain(index),
            v=e.plain(given) if isinstance(given, Value) else e.tree(given),
            a=_last(dim, x.ndim),
        )
        if method == "add":
            made = expression(
                "scatter_add(x, dim, index, src)",
                x=e.plain(x),
                dim=dim,
                index=e.plain(index),
                src=e.plain(given),
            )
        return made, plain(x.ndim)

    return handler


def scatter_reduce(e: Emitter, op: Operation) -> Result:
    """Writes the sum, product, mean or extreme of what comes together where an index says."""
    g = bound(op, "x dim index src reduce include_self=True")
    x = g["x"]
    if not x.floating:
        raise ConversionError(f"{e.where}scatter_reduce of whole numbers; cast them to float before")
    return expression(
        "scatter_reduce(x, dim, index, src, reduce=r, include_self=i)",
        x=e.plain(x),
        dim=g["dim"] % x.ndim,
        index=e.plain(g["index"]),
        src=e.plain(g["src"]),
        r=g["reduce"],
        i=DROP if g["include_self"] else expression("False"),
    ), plain(x.ndim)


def one_hot(e: Emitter, op: Operation) -> Result:
    """Writes one_hot with a number of classes; without, it would depend on the values."""
    g = bound(op, "x num_classes=-1")
    if g["num_classes"] == -1:
        raise ConversionError(f"{e.where}one_hot without num_classes depends on the values of its input")
    x = g["x"]
    return expression("nn.one_hot(x, n, dtype=jnp.int32)", x=e.get(x), n=g["num_classes"]), (
        *e.order(x),
        x.ndim,
    )


def along(template: str, names: str = "x dim=-1") -> Handler:
    """Returns the handler of a function along one axis that keeps the shape."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, names)
        x = g["x"]
        return expression(template, x=e.get(x), a=e.axis(x, g["dim"])), e.order(x)

    return handler


def bucketize(e: Emitter, op: Operation) -> Result:
    """Writes the index of the interval that a number lies in."""
    if op.function == "searchsorted":
        g = bound(op, "boundaries x out_int32=False right=False")
        if g["boundaries"].ndim != 1:
            raise ConversionError(f"{e.where}searchsorted in several rows")
    else:
        g = bound(op, "x boundaries out_int32=False right=False")
    x = g["x"]
    return expression(
        "jnp.searchsorted(b, x, side=s)",
        b=e.plain(g["boundaries"]),
        x=e.get(x) if isinstance(x, Value) else e.tree(x),
        s=only(g["right"] and "right"),
    ), e.order(x) if isinstance(x, Value) else ()


def repeat(e: Emitter, op: Operation) -> Result:
    """Writes copies side by side."""
    x, *rest = op.arguments
    counts = rest[0] if rest and isinstance(rest[0], tuple | list) else rest
    counts = counts or op.keywords.get("repeats") or op.keywords["dims"]
    return expression("jnp.tile(x, s)", x=e.plain(x), s=tuple(e.size(n) for n in counts)), plain(
        op.output.ndim
    )


def repeat_interleave(e: Emitter, op: Operation) -> Result:
    """Writes each slice several times in a row."""
    g = bound(op, "x repeats dim=None output_size=None")
    x = g["x"]
    if isinstance(g["repeats"], Value):
        raise ConversionError(f"{e.where}repeat_interleave by an array: the shape depends on its values")
    count = e.size(g["repeats"])
    if g["dim"] is None:
        return expression("jnp.repeat(x, n)", x=e.plain(x), n=count), plain(1)
    return expression("jnp.repeat(x, n, axis=a)", x=e.get(x), n=count, a=e.axis(x, g["dim"])), e.order(x)


def flip(e: Emitter, op: Operation) -> Result:
    """Writes axes in reverse."""
    x, *rest = op.arguments
    dims = (rest[0] if rest and isinstance(rest[0], tuple | list) else rest) or op.keywords["dims"]
    where = tuple(e.order(x).index(d % x.ndim) for d in dims)
    return expression("jnp.flip(x, axis=a)", x=e.get(x), a=where[0] if len(where) == 1 else where), e.order(x)


def diagonal(e: Emitter, op: Operation) -> Result:
    """Writes a diagonal of two axes, which becomes the last axis."""
    g = bound(op, "x offset=0 dim1=0 dim2=1")
    x = g["x"]
    return expression(
        "jnp.diagonal(x, offset=o, axis1=a, axis2=b)",
        x=e.plain(x),
        o=unless(g["offset"] == 0, g["offset"]),
        a=unless(g["dim1"] == 0, g["dim1"]),
        b=unless(g["dim2"] == 1, g["dim2"]),
    ), plain(x.ndim - 1)


def cumsum(e: Emitter, op: Operation) -> Result:
    """Writes the running sum, of truth values too."""
    g = bound(op, "x dim dtype=None")
    x = g["x"]
    kind = DROP if g["dtype"] is None or not isinstance(g["dtype"], torch.dtype) else dtype(g["dtype"])
    if kind is not DROP and str(g["dtype"]).endswith(x.dtype):
        kind = DROP
    return expression("jnp.cumsum(x, axis=a, dtype=d)", x=e.get(x), a=e.axis(x, g["dim"]), d=kind), e.order(x)


FUNCTIONS: dict[str, Handler] = {
    "gather": gather,
    "take_along_dim": gather,
    "index_select": index_select,
    "embedding": embedding,
    "take": take,
    **dict.fromkeys(("scatter", "scatter_"), scatter("set")),
    **dict.fromkeys(("scatter_add", "scatter_add_"), scatter("add")),
    **dict.fromkeys(("scatter_reduce", "scatter_reduce_"), scatter_reduce),
    "one_hot": one_hot,
    "cumsum": cumsum,
    "cumprod": along("jnp.cumprod(x, axis=a)", "x dim dtype=None"),
    "logcumsumexp": along("jax.lax.cumlogsumexp(x, axis=a)", "x dim"),
    **dict.fromkeys(("bucketize", "searchsorted"), bucketize),
    **dict.fromkeys(("repeat", "tile"), repeat),
    "repeat_interleave": repeat_interleave,
    "flip": flip,
    "diagonal": diagonal,
}
