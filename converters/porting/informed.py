"""Facts that NNX's layers need when they are made: how many features they read, and their names."""

import ast
from typing import Any, Protocol

from converters.porting.code import Code
from converters.porting.dialects import Dialect
from converters.porting.expressions import literal
from converters.porting.graph import Operation, values

INPUTS = "in_features"  # the keyword that says it, until a layer's call is written
NAMELESS = {"nn.Dropout": "dropout", "nn.InstanceNorm": "norm", "nn.GroupNorm": "norm"}  # in linen


class Writer(Protocol):
    """A writer of a scope, in a dialect."""

    dialect: Dialect
    code: Code


def informed(e: Writer, op: Operation, whole: ast.expr, order: Any) -> None:
    """Adds to the layers of an expression what the dialect wants to be told.

    Args:
        e: Writes the scope.
        op: The operation.
        whole: The operation in Flax.
        order: Order of the axes of the result, or of several; features are the last one.
    """
    if not e.dialect.declares:
        return
    taken = next(values((op.arguments, op.keywords)), None)
    axes = order[0] if order and isinstance(order[0], tuple) else order
    for node in ast.walk(whole):
        name = _name(node)
        if isinstance(node, ast.Call) and name:
            said = {each.arg for each in node.keywords}
            if name in e.dialect.inputs and taken is not None and INPUTS not in said:
                size = literal(taken.shape[axes[-1]], INPUTS)
                node.keywords.insert(0, ast.keyword(arg=INPUTS, value=size))
            if name in NAMELESS and "name" not in said:
                text = literal(_called(e, op, NAMELESS[name], node))
                node.keywords.append(ast.keyword(arg="name", value=text))


def _name(node: ast.AST) -> str:
    """Returns linen's name of the layer that a call makes; "" if it makes none."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name[:1].isupper():
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id="nn"), attr=name)) if name[:1].isupper():
            return f"nn.{name}"
    return ""


def _called(e: Writer, op: Operation, usual: str, node: ast.Call) -> str:
    """Returns a name for a layer without arrays: PyTorch's, or one that none of its layers has."""
    path = e.code.scope.path
    if op.path:
        return op.path.removeprefix(f"{path}." if path else "")
    module, settings = e.code.scope.module, ast.dump(node)
    number = 1
    name = usual
    while hasattr(module, name) or e.code.nameless.get(name, settings) != settings:
        number += 1
        name = f"{usual}{number}"
    e.code.nameless[name] = settings
    return name
