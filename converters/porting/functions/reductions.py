"""Sums, means and other functions of whole axes."""

import ast
from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Order, Result
from converters.porting.expressions import expression, only, unless
from converters.porting.graph import Operation, Value, bound


def axes_of(x: Value, dim: Any) -> tuple[int, ...]:
    """Returns the axes that a `dim` means, counted from the front; None and () are all of them."""
    if dim is None or dim == () or dim == []:
        return tuple(range(x.ndim))
    return tuple(d % x.ndim for d in (dim if isinstance(dim, tuple | list) else (dim,)))


def reduced(e: Emitter, template: str, x: Value, dim: Any, keepdim: bool, **parts: Any) -> Result:
    """Returns a reduction over axes, and how the axes that are left lie.

    Args:
        e: The scope.
        template: With `x`, `a` for the axes and `k` for keepdims.
        x: The array.
        dim: As torch takes it.
        keepdim: If true, the axes stay, with size 1.
        **parts: Expressions for the other names of the template.
    """
    order = e.order(x)
    axes = axes_of(x, dim)
    where: Any = tuple(sorted(order.index(axis) for axis in axes))
    if len(where) == 1:
        where = e.axis(x, axes[0])
    everything = dim is None and not keepdim
    made = expression(
        template,
        x=e.get(x),
        a=unless(everything, where),
        k=only(keepdim),
        **parts,
    )
    return made, order if keepdim else _left(order, axes)


def _left(order: Order, axes: tuple[int, ...]) -> Order:
    """Returns how the other axes lie."""
    left = [axis for axis in order if axis not in axes]
    return tuple(sorted(left).index(axis) for axis in left)


def reduction(name: str) -> Handler:
    """Returns the handler of a method that arrays of JAX have under the same name."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x dim=None keepdim=False")
        return _short(*reduced(e, f"x.{name}(axis=a, keepdims=k)", g["x"], g["dim"], g["keepdim"]))

    return handler


def _short(made: ast.expr, order: Order) -> Result:
    """Returns a call of a method with its axes by position, as one writes it."""
    assert isinstance(made, ast.Call)
    made.args = [each.value for each in made.keywords if each.arg == "axis"]
    made.keywords = [each for each in made.keywords if each.arg != "axis"]
    return made, order


def function(template: str) -> Handler:
    """Returns the handler of a function over axes."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x dim=None keepdim=False")
        return reduced(e, template, g["x"], g["dim"], g["keepdim"])

    return handler


def spread(name: str) -> Handler:
    """Returns the handler of var or std, which torch takes of a sample unless told otherwise."""

    def handler(e: Emitter, op: Operation) -> Result:
        keywords = dict(op.keywords)
        given = list(op.arguments)
        if len(given) > 1 and isinstance(given[1], bool):  # (x, unbiased)
            keywords["unbiased"] = given.pop(1)
        if len(given) > 2 and isinstance(given[2], bool):  # (x, dim, unbiased, keepdim)
            keywords["unbiased"] = given.pop(2)
        g = bound(
            Operation(function=name, arguments=given, keywords=keywords, output=op.output),
            "x dim=None correction=1 keepdim=False unbiased=True",
        )
        ddof = 0 if not g["unbiased"] else g["correction"]
        return reduced(
            e,
            f"jnp.{name}(x, axis=a, ddof=d, keepdims=k)",
            g["x"],
            g["dim"],
            g["keepdim"],
            d=unless(ddof == 0, ddof),
        )

    return handler


def var_mean(e: Emitter, op: Operation) -> Any:
    """Writes the variance and the mean."""
    variance = spread(op.function.removesuffix("_mean"))(e, op)
    g = bound(op, "x dim=None correction=1 keepdim=False unbiased=True")
    return [variance, reduced(e, "x.mean(axis=a, keepdims=k)", g["x"], g["dim"], g["keepdim"])]


def norm(e: Emitter, op: Operation) -> Result:
    """Writes the norm of vectors; of several axes, that of all the numbers in them."""
    keywords = {"p" if name == "ord" else name: each for name, each in op.keywords.items()}
    given = Operation(function=op.function, arguments=op.arguments, keywords=keywords, output=op.output)
    g = bound(given, "x p=2 dim=None keepdim=False")
    x, p = g["x"], g["p"]
    if p in (None, "fro"):
        p = 2
    template = {
        1: "jnp.abs(x).sum(axis=a, keepdims=k)",
        2: "jnp.sqrt(jnp.square(x).sum(axis=a, keepdims=k))",
        float("inf"): "jnp.abs(x).max(axis=a, keepdims=k)",
    }.get(p)
    if template is None:
        raise ConversionError(f"{e.where}a norm of order {p!r}")
    axes, order = axes_of(x, g["dim"]), e.order(x)
    if p == 2 and len(axes) == 1:
        template = "jnp.linalg.norm(x, axis=a, keepdims=k)"
    made = expression(
        template,
        x=e.get(x),
        a=e.axis(x, axes[0]) if len(axes) == 1 else tuple(sorted(order.index(each) for each in axes)),
        k=only(g["keepdim"]),
    )
    return made, order if g["keepdim"] else _left(order, axes)


def logsumexp(e: Emitter, op: Operation) -> Result:
    """Writes the logarithm of a sum of exponentials."""
    g = bound(op, "x dim keepdim=False")
    return reduced(e, "nn.logsumexp(x, axis=a, keepdims=k)", g["x"], g["dim"], g["keepdim"])


FUNCTIONS: dict[str, Handler] = {
    **{name: reduction(name) for name in ("mean", "sum", "prod", "any", "all")},
    "amax": reduction("max"),
    "amin": reduction("min"),
    "nanmean": function("jnp.nanmean(x, axis=a, keepdims=k)"),
    "nansum": function("jnp.nansum(x, axis=a, keepdims=k)"),
    "count_nonzero": function("jnp.count_nonzero(x, axis=a)"),
    **{name: spread(name) for name in ("var", "std")},
    **dict.fromkeys(("var_mean", "std_mean"), var_mean),
    **dict.fromkeys(("norm", "linalg_vector_norm", "linalg_norm", "vector_norm"), norm),
    "logsumexp": logsumexp,
}
