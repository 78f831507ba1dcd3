"""Expressions of arrays that no operation gives: those of the module, and constants."""

import ast
import math
from collections.abc import Callable
from typing import Any

import torch

from converters.porting.expressions import expression, unless
from converters.porting.graph import Value

MOST = 32  # numbers of a constant that are written out

_OWN = {"float32", "float64", "int64", "bool"}  # what JAX makes of Python's numbers, as wide as it is set to


def declared(value: Value, name: str) -> ast.expr:
    """Returns the declaration of a parameter, or of a buffer that weights come with."""
    if value.buffer:
        return variable(value, name)
    return expression(
        "self.param(name, nn.initializers.normal(0.02), shape)", name=name, shape=tuple(value.shape)
    )


def variable(value: Value, name: str, *, read: bool = True) -> ast.expr:
    """Returns the declaration of an array that is no parameter, and reads it."""
    kinds = {"float32": "", "float64": "", "bool": ", bool", "int64": ", jnp.int32"}
    dtype = kinds.get(value.dtype, f", jnp.{value.dtype}")
    return expression(
        f"self.variable(c, name, jnp.zeros, shape{dtype}){'.value' if read else ''}",
        c="batch_stats" if value.changes else "buffers",
        name=name,
        shape=tuple(value.shape),
    )


def constant(value: Value) -> ast.expr | None:
    """Returns the expression of a constant array; None if it has more numbers than can be written out."""
    tensor: torch.Tensor = value.constant.detach().cpu()
    shown = _number if value.parameter else _short
    if tensor.is_complex():
        return None
    if tensor.ndim == 0:
        return expression("jnp.array(n, dtype=d)", n=shown(tensor), d=_dtype(tensor))
    core = tensor.squeeze()
    made = _full(tensor, shown)
    if made is None and core.ndim == 1:
        made = _reshaped(_progression(core), core, tensor)
    if made is None and core.ndim == 2:
        made = _reshaped(_triangle(core, shown), core, tensor)
    if made is None and tensor.numel() <= MOST:
        made = expression("jnp.array(ns, dtype=d)", ns=_nested(tensor, shown), d=_dtype(tensor))
    return made


def _dtype(tensor: torch.Tensor) -> Any:
    name = str(tensor.dtype).removeprefix("torch.")
    return unless(name in _OWN, expression(f"jnp.{name}"))


def _number(number: torch.Tensor) -> ast.expr:
    """Returns a number with all its digits."""
    return _python(number.item())


def _short(number: torch.Tensor) -> ast.expr:
    """Returns a number with the digits that tell it from others of its precision."""
    return _python(float(str(number.numpy())) if number.is_floating_point() else number.item())


def _python(number: Any) -> ast.expr:
    if isinstance(number, float) and not math.isfinite(number):
        return expression("jnp.nan" if math.isnan(number) else "jnp.inf" if number > 0 else "-jnp.inf")
    return ast.Constant(value=number)


def _nested(tensor: torch.Tensor, shown: Callable[[torch.Tensor], ast.expr]) -> ast.expr:
    if tensor.ndim == 0:
        return shown(tensor)
    return ast.List(elts=[_nested(each, shown) for each in tensor], ctx=ast.Load())


def _full(tensor: torch.Tensor, shown: Any) -> ast.expr | None:
    if tensor.numel() < 2 or not bool((tensor == tensor.flatten()[0]).all()):
        return None
    return expression(
        "jnp.full(s, n, dtype=d)", s=tuple(tensor.shape), n=shown(tensor.flatten()[0]), d=_dtype(tensor)
    )


def _progression(core: torch.Tensor) -> ast.expr | None:
    """Recognizes whole numbers at equal steps."""
    if len(core) < 3 or core.dtype == torch.bool or not bool((core == core.round()).all()):
        return None
    first, step = int(core[0]), int(core[1]) - int(core[0])
    stop = first + step * len(core)
    if not step or not torch.equal(core, torch.arange(first, stop, step, dtype=core.dtype)):
        return None
    d = unless(str(core.dtype) == "torch.int64", expression(f"jnp.{str(core.dtype).removeprefix('torch.')}"))
    if core.dtype in (torch.float32, torch.float64):
        d = expression("float")
    if step == 1:
        return expression(
            "jnp.arange(n, dtype=d)" if not first else "jnp.arange(a, n, dtype=d)", n=stop, a=first, d=d
        )
    return expression("jnp.arange(a, n, s, dtype=d)", a=first, n=stop, s=step, d=d)


def _triangle(core: torch.Tensor, shown: Any) -> ast.expr | None:
    """Recognizes masks: one number below and on the diagonal, and another above it."""
    rows, columns = core.shape
    lower = torch.ones(rows, columns, dtype=torch.bool).tril()
    inside, outside = core[lower], core[~lower]
    if min(rows, columns) < 3 or not bool((inside == inside[0]).all() and (outside == outside[0]).all()):
        return None
    mask = expression("jnp.tril(jnp.ones((r, c), dtype=bool))", r=rows, c=columns)
    if core.dtype == torch.bool:
        return mask if bool(inside[0]) else expression("~m", m=mask)
    return expression("jnp.where(m, a, b)", m=mask, a=shown(inside[0]), b=shown(outside[0]))


def _reshaped(made: ast.expr | None, core: torch.Tensor, whole: torch.Tensor) -> ast.expr | None:
    if made is None or core.shape == whole.shape:
        return made
    return expression("x.reshape(s)", x=made, s=tuple(whole.shape))
