"""Statements of one mode, under its condition."""

import ast
from collections.abc import Sequence

from converters.porting.writing import trees

WIDEST = 92  # characters of a statement in the body of a method


def returned(value: ast.expr) -> list[ast.stmt]:
    """Returns the statements that return a value, or one in training and another in eval mode."""
    match value:
        case ast.IfExp(test=ast.Name(id="train") as test, body=body, orelse=orelse):
            return [ast.If(test=test, body=[ast.Return(value=body)], orelse=[]), ast.Return(value=orelse)]
    return [ast.Return(value=value)]


def kept(expression: ast.expr) -> list[ast.stmt]:
    """Returns the statement of an expression; a variable is not changed while it is made."""
    said = ast.Expr(value=expression)
    match expression:
        case ast.Call(func=ast.Attribute(attr="put_variable")):
            return [_if("not self.is_initializing()", [said], [])]
    return [said]


def together(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Returns statements with one condition for neighbors that have the same."""
    made: list[ast.stmt] = []
    for each in statements:
        match made[-1:], each:
            case [ast.If(test=test, body=body, orelse=[])], ast.If(test=other, body=more, orelse=[]) if (
                trees.text(test) == trees.text(other)
            ):
                body += more
            case _:
                made.append(each)
    return made


def alike(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Returns statements without conditions for what is the same where they hold and where they do not."""
    made: list[ast.stmt] = []
    for each in statements:
        if isinstance(each, ast.For | ast.If):
            each.body, each.orelse = alike(each.body), alike(each.orelse)
        same = isinstance(each, ast.If) and [*map(trees.text, each.body)] == [*map(trees.text, each.orelse)]
        made += each.body if isinstance(each, ast.If) and same else [each]
    return made


def by_mode(body: list[ast.stmt], orelse: list[ast.stmt], fills: tuple[bool, bool]) -> list[ast.stmt]:
    """Returns the statements of training and eval mode under their conditions.

    Layers with arrays are called in either mode when the module is made.
    """
    train, evaluated = (f"{test} or self.is_initializing()" for test in ("train", "not train"))
    if all(fills):
        return [_if(train, body, []), _if(evaluated, orelse, [])]
    if fills[1] or not body:
        return [_if(evaluated if fills[1] else "not train", orelse, body)] if orelse else []
    return [_if(train if fills[0] else "train", body, orelse)]


def _if(test: str, body: list[ast.stmt], orelse: list[ast.stmt]) -> ast.stmt:
    made = ast.If(test=ast.parse(test, mode="eval").body, body=body, orelse=orelse)
    match made:
        case ast.If(
            body=[ast.Assign(targets=[target], value=one)], orelse=[ast.Assign(targets=[other], value=two)]
        ) if trees.text(target) == trees.text(other):
            chosen = ast.IfExp(test=made.test, body=one, orelse=two)
            if len(trees.text(target)) + len(trees.text(chosen)) + 3 <= WIDEST:
                return ast.Assign(targets=[target], value=chosen)
    return made


def joined(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Returns statements with one condition for two, and what is only returned where it is returned."""
    return _returning(_leading([*map(_condition, statements)]))


def _leading(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Returns statements in which the last branch returns what the mode returns."""
    match statements:
        case [
            *before,
            ast.If(test=ast.Name(id="train"), body=body, orelse=orelse),
            ast.If(test=ast.Name(id="train") as test, body=[ast.Return() as trained]),
            ast.Return() as last,
        ]:
            branch = ast.If(test=test, body=_returning([*body, trained]), orelse=[])
            return [*before, branch, *orelse, last]
        case [
            *before,
            ast.If(test=ast.UnaryOp(op=ast.Not()), body=body, orelse=[]),
            ast.If(test=ast.Name(id="train")) as branch,
            ast.Return() as last,
        ]:
            return [*before, branch, *body, last]
    return statements


def _returning(statements: list[ast.stmt]) -> list[ast.stmt]:
    match statements:
        case [
            *before,
            ast.Assign(targets=[ast.Name(id=name)], value=value),
            ast.Return(value=ast.Name(id=result)),
        ] if name == result:
            return [*before, ast.Return(value=value)]
    return statements


def _condition(statement: ast.stmt) -> ast.stmt:
    """Returns a statement, under both of two conditions if it is all that there is under both."""
    match statement:
        case ast.If(test=test, body=[ast.If(test=inner, body=body, orelse=[])], orelse=[]):
            both = ast.BoolOp(op=ast.And(), values=[test, inner])
            return ast.If(test=both, body=body, orelse=[])
    return statement
