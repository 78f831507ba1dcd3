"""Arrays made of nothing but their shape, and of numbers that the code holds."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, plain
from converters.porting.expressions import DROP, expression, literal, unless
from converters.porting.functions.casts import cast, dtype
from converters.porting.graph import Operation, Value, bound

FEW = 64  # numbers that are written out


def _shape(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns a shape given as numbers, as one tuple, or by keyword."""
    given = list(arguments) or [keywords["size"]]
    return tuple(given[0]) if isinstance(given[0], tuple | list) else tuple(given)


def _kind(op: Operation) -> Any:
    """Returns the keyword of an array's dtype; left out where it is JAX's default."""
    kind = getattr(torch, op.output.dtype)
    return unless(kind in (torch.float32, torch.float64), dtype(kind))


def _filled(e: Emitter, op: Operation, shape: tuple[Any, ...], value: Any) -> Result:
    sizes = tuple(e.size(n) for n in shape)
    name = {0.0: "zeros", 1.0: "ones"}.get(value) if isinstance(value, int | float) else None
    if name:
        return expression(f"jnp.{name}(s, dtype=d)", s=sizes, d=_kind(op)), plain(op.output.ndim)
    return expression("jnp.full(s, v, dtype=d)", s=sizes, v=e.tree(value), d=_kind(op)), plain(op.output.ndim)


def constant(value: float, *, of: bool = False) -> Handler:
    """Returns the handler of a function that fills a shape with one number; `of` an array's type or not."""

    def handler(e: Emitter, op: Operation) -> Result:
        return _filled(e, op, _shape(op.arguments[of:], op.keywords), value)

    return handler


def full(e: Emitter, op: Operation) -> Result:
    """Writes torch.full and Tensor.new_full."""
    g = bound(op, "x size value") if op.function == "new_full" else bound(op, "size value")
    return _filled(e, op, tuple(g["size"]), g["value"])


def like(name: str) -> Handler:
    """Returns the handler of a function that fills the shape of another array."""

    def handler(e: Emitter, op: Operation) -> Result:
        x: Value = op.arguments[0] if op.arguments else op.keywords["input"]
        value = op.arguments[1] if len(op.arguments) > 1 else op.keywords.get("fill_value", 0)
        same = op.output.dtype == x.dtype
        return expression(
            f"jnp.{name}_like(x, v, dtype=d)",
            x=e.get(x),
            v=e.tree(value) if name == "full" else 0,
            d=DROP if same else dtype(getattr(torch, op.output.dtype)),
        ) if name == "full" else expression(
            f"jnp.{name}_like(x, dtype=d)",
            x=e.get(x),
            d=DROP if same else dtype(getattr(torch, op.output.dtype)),
        ), e.order(x)

    return handler


def arange(e: Emitter, op: Operation) -> Result:
    """Writes torch.arange(end), (start, end) and (start, end, step)."""
    given = [*op.arguments] + [op.keywords[n] for n in ("start", "end", "step") if n in op.keywords]
    given = [each for each in given if isinstance(each, int | float)]
    if len(given) > 1 and given[0] == 0 and given[2:] in ([], [1]):
        given = [given[1]]
    made = expression("jnp.arange(n, dtype=d)", n=0, d=unless("int" in op.output.dtype, _wide(op)))
    assert isinstance(made, ast.Call)
    made.args = [e.size(each) for each in given]
    return made, plain(1)


def _wide(op: Operation) -> ast.expr:
    return dtype(getattr(torch, op.output.dtype))


def linspace(e: Emitter, op: Operation) -> Result:
    """Writes torch.linspace."""
    g = bound(op, "start end steps")
    return expression(
        "jnp.linspace(a, b, n)", a=e.tree(g["start"]), b=e.tree(g["end"]), n=e.size(g["steps"])
    ), plain(1)


def triangle(name: str) -> Handler:
    """Returns the handler of a lower or upper triangle of the last two axes."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x diagonal=0")
        x, k = g["x"], g["diagonal"]
        return expression(f"jnp.{name}(x, k=k)", x=e.plain(x), k=unless(k == 0, e.size(k))), plain(x.ndim)

    return handler


def eye(e: Emitter, op: Operation) -> Result:
    """Writes an identity matrix."""
    g = bound(op, "n m=None")
    made = expression("jnp.eye(n, m, dtype=d)", n=e.size(g["n"]), m=0, d=_kind(op))
    assert isinstance(made, ast.Call)
    made.args = [e.size(g["n"]), *([] if g["m"] is None else [e.size(g["m"])])]
    return made, plain(2)


def tensor(e: Emitter, op: Operation) -> Result:
    """Writes torch.tensor of numbers, and arrays that the torch code holds."""
    data = op.arguments[0] if op.arguments else op.keywords["data"]
    if isinstance(data, Value):
        return cast(e, data, getattr(torch, op.output.dtype)), e.order(data)
    if isinstance(data, torch.Tensor):
        return held(data, e.where), plain(data.ndim)
    return expression("jnp.array(x, dtype=d)", x=e.tree(data), d=_kind(op)), plain(op.output.ndim)


def held(data: torch.Tensor, where: str = "") -> ast.expr:
    """Returns the expression of numbers: of a range or of one number, or written out where they are few."""
    kind = unless(data.dtype in (torch.float32, torch.float64), dtype(data.dtype))
    flat = data.detach().reshape(-1)
    if data.numel() and bool((flat == flat[0]).all()):
        value = flat[0].item()
        if not data.ndim:
            return expression("jnp.array(v, dtype=d)", v=value, d=kind)
        return expression("jnp.full(s, v, dtype=d)", s=tuple(data.shape), v=value, d=kind)
    if data.numel() > 2 and data.dtype in (torch.int64, torch.int32) and not data.is_complex():
        step = int(flat[1] - flat[0])
        if step and bool((flat[1:] - flat[:-1] == step).all()):
            return _range(data, int(flat[0]), step)
    if data.numel() > FEW:
        raise ConversionError(
            f"{where}holds an array of {tuple(data.shape)} numbers that is in no state dict"
        )
    return expression("jnp.array(x, dtype=d)", x=literal(data.tolist()), d=kind)


def _range(data: torch.Tensor, start: int, step: int) -> ast.expr:
    made = expression("jnp.arange(n)")
    assert isinstance(made, ast.Call)
    stop = start + step * data.numel()
    made.args = [literal(n) for n in ([stop] if (start, step) == (0, 1) else [start, stop, step])]
    return made if data.ndim == 1 else expression("r.reshape(s)", r=made, s=tuple(data.shape))


FUNCTIONS: dict[str, Handler] = {
    **{name: constant(value) for name, value in (("zeros", 0.0), ("ones", 1.0), ("empty", 0.0))},
    **{
        f"new_{name}": constant(value, of=True)
        for name, value in (("zeros", 0.0), ("ones", 1.0), ("empty", 0.0))
    },
    **dict.fromkeys(("full", "new_full"), full),
    **{f"{name}_like": like(name) for name in ("zeros", "ones", "full")},
    "empty_like": like("zeros"),
    "arange": arange,
    "linspace": linspace,
    **{name: triangle(name) for name in ("tril", "triu")},
    "eye": eye,
    **dict.fromkeys(("tensor", "as_tensor", "constant", "scalar_tensor"), tensor),
}
