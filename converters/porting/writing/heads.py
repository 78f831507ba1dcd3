"""The number of classes as a field of a classifier."""

import ast
from typing import Any

from converters.porting.writing.columns import Field
from converters.porting.writing.fields import Fields
from converters.porting.writing.trees import dotted

NAMES = ("fc", "head", "heads.head", "classifier", "linear")  # of layers that give logits


def head(fields: Fields) -> None:
    """Makes the number of logits a field, if a classifier's last layer gives them."""
    if len(fields.body.codes) > 1:  # a module that holds others of its class
        return
    ((code, statement),) = fields.body.rows[-1].items()
    layer = _dense(statement.expression)
    if layer is None or fields.fields:
        return
    size, name = layer
    attribute = getattr(code.scope.module, "num_classes", None)
    word = str(name).partition(".")[0]
    if attribute == size.value or name in NAMES or word == "classifier":
        fields.fields.append(Field(name="num_classes", values=[size.value], default=size.value))
        made = ast.parse("self.num_classes", mode="eval").body
        size.__class__ = made.__class__
        size.__dict__ = dict(made.__dict__)


def _dense(node: ast.expr) -> tuple[Any, str] | None:
    """Returns the number of features, and the name, of a dense layer whose output an expression is."""
    match node:
        case ast.Call(func=ast.Call(func=called, args=[ast.Constant() as size, *_], keywords=keywords)):
            names = [each.value for each in keywords if each.arg == "name"]
            if dotted(called) == "nn.Dense" and names and isinstance(names[0], ast.Constant):
                return size, str(names[0].value)
    return None
