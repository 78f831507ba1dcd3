"""Results whose type Flax does not say: a strict type checker wants them in a variable that has one."""

import ast
import inspect
from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from converters.porting.writing.trees import dotted


def declared(statements: list[ast.stmt], arrays: Sequence[str]) -> list[ast.stmt]:
    """Returns statements that return no results of an unknown type.

    Args:
        statements: Of a method that returns an array.
        arrays: Names of its arguments that are arrays.
    """
    types = _Types()
    found: list[ast.stmt] = []
    for each in statements:
        match each:
            case ast.Return(value=ast.expr() as value) if types.unknown(value):
                found += _in_variable(value, arrays)
                continue
            case ast.If(body=[*_, ast.Return()]):
                each.body = declared(each.body, arrays)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in arrays:
                types.names.setdefault(name, types.unknown(value))
        found.append(each)
    return found


def _in_variable(value: ast.expr, arrays: Sequence[str]) -> list[ast.stmt]:
    name = arrays[0] if arrays else "out"
    target = ast.Name(id=name, ctx=ast.Store())
    annotation = ast.parse("jax.Array", mode="eval").body
    made: ast.stmt = (
        ast.Assign(targets=[target], value=value)
        if arrays
        else ast.AnnAssign(target=target, annotation=annotation, value=value, simple=1)
    )
    return [made, ast.Return(value=ast.Name(id=name, ctx=ast.Load()))]


class _Types:
    """Knows of the variables of a method whether their type is unknown."""

    def __init__(self) -> None:
        self.names: dict[str, bool] = {}

    def unknown(self, node: ast.expr) -> bool:
        """Returns whether a type checker does not know that an expression is an array."""
        match node:
            case ast.Call(func=ast.Call(func=made)) if dotted(made).startswith("nn."):
                return _says_nothing(getattr(nn, dotted(made)[3:]).__call__)
            case ast.Call(func=called) if dotted(called).startswith("nn."):
                return _says_nothing(getattr(nn, dotted(called)[3:]))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="variable")):
                return True
            case ast.Call(func=ast.Attribute() as inner):
                return self.unknown(inner)
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.BinOp(left=inner):
                return self.unknown(inner)
            case ast.UnaryOp(operand=inner):
                return self.unknown(inner)
            case ast.IfExp(body=one, orelse=two):
                return self.unknown(one) or self.unknown(two)
            case ast.Name(id=name):
                return self.names.get(name, False)
        return False


def _says_nothing(function: Any) -> bool:
    """Returns whether a function's result has no annotation."""
    try:
        return inspect.signature(function).return_annotation is inspect.Signature.empty
    except (TypeError, ValueError):
        return True
