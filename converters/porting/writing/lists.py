"""Lists that grow by what is computed from them, as DenseNet's features, as lists that are appended to."""

import ast
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from converters.porting.emit import Code, Statement
from converters.porting.expressions import reference
from converters.porting.graph import Value
from converters.porting.writing.trees import is_layer, references


def grown(code: Code) -> None:
    """Writes [x], [x, a], [x, a, b] as one list, if nobody reads a and b but from it, once it is whole."""
    for start, statement in enumerate(code.statements):
        first = _list(statement.expression)
        if first is None:
            continue
        items = _items(code, start, first[1])
        count = len(items) - len(first[1])
        if count > 1 and _is_only_read_whole(code, start + count, items, {*items[len(first[1]) :]}):
            _write(code, start, start + count, items)
            return


def _list(node: ast.AST | None) -> tuple[ast.List, list[Value]] | None:
    """Returns the one list of values in an expression."""
    assert node is not None
    found = [each for each in ast.walk(node) if isinstance(each, ast.List)]
    held = [getattr(each, "value", None) for each in found[0].elts] if len(found) == 1 else []
    values = [each for each in held if isinstance(each, Value)]
    return (found[0], values) if values and len(values) == len(held) else None


def _items(code: Code, start: int, first: Sequence[Value]) -> list[Value]:
    """Returns the list after the statements, from one on, each of which adds its value to what it reads."""
    items = [*first]
    for statement in code.statements[start:]:
        found = _list(statement.expression)
        if found is None or found[1] != items or not is_layer(statement.expression):
            break
        items.append(statement.targets[0])
    return items


def _is_only_read_whole(code: Code, end: int, items: Sequence[Value], added: AbstractSet[Value]) -> bool:
    """Returns whether what was added is read from the whole list only: in the growth, and after its end."""
    assert code.result is not None
    for index, each in enumerate([*(each.expression for each in code.statements), code.result]):
        found = _list(each)
        listed = [] if found is None else found[1]
        if sum(value in added for value in references(each)) != sum(value in added for value in listed):
            return False
        if index >= end and added & {*listed} and listed != items:
            return False
    return True


def _write(code: Code, start: int, end: int, items: list[Value]) -> None:
    features = Value(shape=(), dtype="", name="features")
    first = ast.List(elts=[reference(each) for each in items[: start - end]], ctx=ast.Load())
    made = [Statement(targets=[features], expression=first, statement=-1)]
    for statement in code.statements[start:end]:
        append = ast.Attribute(value=reference(features), attr="append", ctx=ast.Load())
        call = ast.Call(func=append, args=[_referring(statement.expression, features)], keywords=[])
        made.append(Statement(targets=[], expression=call, statement=statement.statement))
    rest = code.statements[end:]
    for each in rest:
        if _is_list(each.expression, items):
            each.expression = _referring(each.expression, features)
    assert code.result is not None
    if _is_list(code.result, items):
        code.result = _referring(code.result, features)
    code.statements[start:] = [*made, *rest]


def _is_list(node: ast.expr, items: list[Value]) -> bool:
    found = _list(node)
    return found is not None and found[1] == items


def _referring(node: ast.expr, features: Value) -> ast.expr:
    """Returns an expression with a name in place of its one list."""
    made: ast.expr = _Referring(features).visit(node)
    return made


class _Referring(ast.NodeTransformer):
    def __init__(self, features: Value) -> None:
        self._features = features

    def visit_List(self, node: ast.List) -> ast.expr:
        return reference(self._features)
