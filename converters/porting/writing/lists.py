"""Lists that grow by what is computed from them, as DenseNet's features, as lists that are appended to."""

import ast
from collections.abc import Sequence

from converters.porting.emit import Code, Statement
from converters.porting.expressions import reference
from converters.porting.graph import Value
from converters.porting.writing.trees import is_layer, references


def grown(code: Code) -> None:
    """Writes [x], [x, a], [x, a, b] as one list, if nobody reads a and b but from it."""
    for start, statement in enumerate(code.statements):
        items = _list(statement.expression)
        if items is not None and len(items[1]) >= 1 and (end := _end(code, start, items[1])) > start + 1:
            _write(code, start, end, items[1])
            return


def _list(node: ast.AST | None) -> tuple[ast.List, list[Value]] | None:
    """Returns the one list of values in an expression."""
    assert node is not None
    found = [each for each in ast.walk(node) if isinstance(each, ast.List)]
    held = [getattr(each, "value", None) for each in found[0].elts] if len(found) == 1 else []
    values = [each for each in held if isinstance(each, Value)]
    return (found[0], values) if values and len(values) == len(held) else None


def _end(code: Code, start: int, first: Sequence[Value]) -> int:
    """Returns where the statements end of which each adds its value to the list."""
    items, at = [*first], start
    while at < len(code.statements):
        statement = code.statements[at]
        found = _list(statement.expression)
        if found is None or found[1] != items or not is_layer(statement.expression):
            break
        items.append(statement.targets[0])
        at += 1
    added = {*items[len(first) :]}
    for each in [*(each.expression for each in code.statements), code.result]:
        assert each is not None
        found = _list(each)
        outside = [value for value in references(each) if value in added]
        if outside and (found is None or len(outside) != sum(value in added for value in found[1])):
            return start
        if outside and found is not None and found[1] != items[: len(found[1])]:
            return start
    return at


def _write(code: Code, start: int, end: int, first: Sequence[Value]) -> None:
    features = Value(shape=(), dtype="", name="features")
    items = ast.List(elts=[reference(each) for each in first], ctx=ast.Load())
    made = [Statement(targets=[features], expression=items, statement=-1)]
    for statement in code.statements[start:end]:
        append = ast.Attribute(value=reference(features), attr="append", ctx=ast.Load())
        call = ast.Call(func=append, args=[_referring(statement.expression, features)], keywords=[])
        made.append(Statement(targets=[], expression=call, statement=statement.statement))
    rest = code.statements[end:]
    for each in rest:
        if _begins_with(each.expression, first):
            each.expression = _referring(each.expression, features)
    assert code.result is not None
    if _begins_with(code.result, first):
        code.result = _referring(code.result, features)
    code.statements[start:] = [*made, *rest]


def _begins_with(node: ast.expr, first: Sequence[Value]) -> bool:
    found = _list(node)
    return found is not None and found[1][: len(first)] == [*first]


def _referring(node: ast.expr, features: Value) -> ast.expr:
    """Returns an expression with a name in place of its one list."""
    made: ast.expr = _Referring(features).visit(node)
    return made


class _Referring(ast.NodeTransformer):
    def __init__(self, features: Value) -> None:
        self._features = features

    def visit_List(self, node: ast.List) -> ast.expr:
        return reference(self._features)
