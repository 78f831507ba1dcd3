"""Types of numbers: casts, and what torch calls them in JAX."""

import ast
from typing import Any

import torch

from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import expression
from converters.porting.graph import Operation, Value
from converters.porting.statements import says

# 64 bits are not JAX's default, and asking for them without is a warning.
NAMES = {
    torch.float64: "float32",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.int64: "int32",
    torch.int32: "int32",
    torch.int16: "int16",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.bool: "bool_",
    torch.complex64: "complex64",
    torch.complex128: "complex64",
}
METHODS = {
    "float": torch.float32,
    "double": torch.float64,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "int": torch.int32,
    "long": torch.int64,
    "bool": torch.bool,
}


def dtype(kind: Any) -> ast.expr:
    """Returns the expression of a dtype."""
    return expression(f"jnp.{NAMES[kind]}")


def cast(e: Emitter, x: Value, kind: Any) -> ast.expr:
    """Returns an array as another type of number; itself if it has that type."""
    if kind is None or NAMES[getattr(torch, x.dtype)] == NAMES[kind]:
        return e.get(x)
    return expression("x.astype(d)", x=e.get(x), d=dtype(kind))


def widened(e: Emitter, op: Operation, x: Value) -> ast.expr:
    """Returns an array in float32 at least, where the torch code asks for that: bfloat16 would round more.

    It is traced in float32, and then no cast; a module that computes in another type needs it.
    """
    if e.widths.before(x) is not None:
        return e.get(x)
    e.widths.set(op, x)
    return expression("widened(x)", x=e.get(x))


def to(e: Emitter, op: Operation) -> Result:
    """Writes a cast; another device, or the type that the array has, is nothing."""
    x, *rest = op.arguments
    given = [*rest, *op.keywords.values()]
    like = [each for each in given if isinstance(each, Value)]
    kinds = [each for each in given if isinstance(each, torch.dtype)]
    kinds += [getattr(torch, each.dtype) for each in like]
    if not kinds or kinds[0] != torch.float32 or x.dtype != "float32":
        return cast(e, x, kinds[0] if kinds else None), e.order(x)
    before = e.widths.before(x)
    if before is None and not like and says(*op.place, "float32"):
        return widened(e, op, x), e.order(x)
    target = like[0] if like and e.widths.before(like[0]) is None else before
    if before is None or target is None or not e.is_known(target):
        return e.get(x), e.order(x)
    e.widths.set(op, None)
    return expression("x.astype(y.dtype)", x=e.get(x), y=e.get(target)), e.order(x)


def method(kind: torch.dtype) -> Handler:
    """Returns the handler of a method that casts to one type."""

    def handler(e: Emitter, op: Operation) -> Result:
        x = op.arguments[0]
        wide = kind == torch.float32 and x.dtype == "float32"
        return widened(e, op, x) if wide else cast(e, x, kind), e.order(x)

    return handler


FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(("to", "type_as", "type"), to),
    **{name: method(kind) for name, kind in METHODS.items()},
}
