"""Expressions of Python, from templates."""

import ast
import copy
import math
from functools import cache
from typing import Any, TypeVar

import numpy as np

N = TypeVar("N", bound=ast.AST)

LOWEST = {  # numbers that torch code gets from torch.finfo
    float(np.finfo(np.float32).min): "jnp.finfo(jnp.float32).min",
    float(np.finfo(np.float32).max): "jnp.finfo(jnp.float32).max",
}
DROP = object()  # in place of a keyword's value: leaves the keyword out


def literal(value: Any, role: str = "") -> ast.expr:
    """Returns the expression of a number, text, None or tuple of such; one that was made is itself.

    Args:
        value: The value.
        role: Name that a field with this value would have.
    """
    if isinstance(value, ast.expr):
        return value
    if isinstance(value, tuple | list) and _holds_expression(value):
        kind: Any = ast.Tuple if isinstance(value, tuple) else ast.List
        several: ast.expr = kind(elts=[literal(each, role) for each in value], ctx=ast.Load())
        return several
    if isinstance(value, list):
        return ast.List(elts=[literal(each, role) for each in value], ctx=ast.Load())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return _parsed("jnp.nan" if math.isnan(value) else "jnp.inf" if value > 0 else "-jnp.inf")
    if isinstance(value, float) and value in LOWEST:
        return _parsed(LOWEST[value])
    return marked(ast.Constant(value=value), role=role)


def marked(node: N, **marks: Any) -> N:
    """Returns a node, with attributes on it that are not of the syntax."""
    vars(node).update(marks)
    return node


def _holds_expression(value: Any) -> bool:
    """Returns whether a nesting has an expression in it."""
    return isinstance(value, ast.expr) or (
        isinstance(value, tuple | list) and any(map(_holds_expression, value))
    )


def expression(template: str, **parts: Any) -> ast.expr:
    """Returns an expression: the template, in which the names of `parts` stand for these."""
    filled: ast.expr = _Filled(parts).visit(copy.deepcopy(_parsed(template)))
    return filled


@cache
def _parsed(template: str) -> ast.expr:
    return ast.parse(template, mode="eval").body


class _Filled(ast.NodeTransformer):
    def __init__(self, parts: dict[str, Any]) -> None:
        self._parts = parts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return literal(self._parts[node.id], node.id) if node.id in self._parts else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.keywords = [
            each
            for each in node.keywords
            if not (isinstance(each.value, ast.Name) and self._parts.get(each.value.id) is DROP)
        ]
        for each in node.keywords:
            if isinstance(each.value, ast.Name) and each.value.id in self._parts and each.arg:
                each.value = literal(self._parts[each.value.id], each.arg)
        self.generic_visit(node)
        return node


def reference(value: Any) -> ast.Name:
    """Returns an expression that stands for a value."""
    return marked(ast.Name(id=f"value{id(value)}", ctx=ast.Load()), value=value)


def unless(condition: bool, value: Any) -> Any:
    """Returns a keyword's value, or leaves the keyword out."""
    return DROP if condition else value


def only(value: Any) -> Any:
    """Returns a keyword's value, or leaves the keyword out where it is false or empty."""
    return value or DROP


def scalar(values: Any) -> Any:
    """Returns one number for several that are equal."""
    return values[0] if isinstance(values, tuple | list) and len({*values}) == 1 else values
