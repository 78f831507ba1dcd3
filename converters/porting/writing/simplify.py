"""Shorter expressions for pairs of operations that torch code needs two for."""

import ast
from collections import Counter

from converters.porting.emit import Code, Statement
from converters.porting.expressions import expression
from converters.porting.graph import Value
from converters.porting.writing.trees import references


def simplified(code: Code) -> None:
    """Joins what is one operation in JAX: a mean that keeps its axes, which are then dropped."""
    counts: Counter[Value] = Counter(references(code.result) if code.result is not None else [])
    makers: dict[Value, Statement] = {}
    for each in code.statements:
        counts.update(references(each))
        for target in each.targets:
            makers[target] = each
    joined: set[int] = set()
    for each in code.statements:
        match each.expression:
            case ast.Call(func=ast.Attribute(value=ast.Name() as name, attr="reshape" | "squeeze")):
                value = getattr(name, "value", None)
                if value is None:
                    continue
                before = makers.get(value)
                # Its shape is asked for in the reshape itself.
                own = sum(read is value for read in references(each.expression))
                if (
                    before is not None
                    and counts[value] == own
                    and (made := _joined(before, each)) is not None
                ):
                    each.expression = made
                    joined.add(id(before))
    code.statements = [each for each in code.statements if id(each) not in joined]


def _joined(before: Statement, after: Statement) -> ast.expr | None:
    """Returns the mean over an image's axes as it is when they are dropped."""
    match before.expression:
        case ast.Call(
            func=ast.Attribute(value=x, attr="mean"), args=[ast.Constant(value=axes)], keywords=[_]
        ):
            image = before.targets[0]
            if repr(axes) == repr((*range(1, image.ndim - 1),)) and _flat(image, after.targets[0]):
                return expression("x.mean(axes)", x=x, axes=axes)
    return None


def _flat(before: Value, after: Value) -> bool:
    """Returns whether an array (batch, features, 1, ...) becomes (batch, features)."""
    return after.ndim == 2 and {*before.shape[2:]} == {1} and before.shape[:2] == after.shape
