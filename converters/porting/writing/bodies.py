"""A scope's statements as a person would write them: nested where the torch code nests, none unused."""

import ast
import re
from collections import Counter
from typing import Any, TypeAlias

from converters.porting.emit import Code, Statement
from converters.porting.expressions import marked, reference
from converters.porting.graph import Value
from converters.porting.writing.compound import Branch, Loop
from converters.porting.writing.defaults import trimmed
from converters.porting.writing.simplify import simplified
from converters.porting.writing.trees import (
    copied,
    has_layer,
    is_activation,
    is_layer,
    references,
    replaced,
    text,
)

WIDEST = 84  # characters of an expression that others are written into


def tidy(code: Code) -> None:
    """Drops what nobody uses, and joins what is one operation in JAX."""
    _forget_aliases(code)
    drop_unused(code)
    simplified(code)


def given(code: Code) -> dict[str, Value]:
    """Returns the values of the parameters; a parameter that is a list, say, is a value, too."""
    return {
        name: each
        if isinstance(each, Value)
        else code.stands.setdefault(name, Value(shape=(), dtype="", name=name))
        for name, each in code.parameters.items()
    }


def _forget_aliases(code: Code) -> None:
    known: dict[Value, ast.expr] = {}
    parameters = given(code)
    for name, each in code.parameters.items():
        if not isinstance(each, Value):
            _reach(reference(parameters[name]), each, known)
    kept = []
    for statement in code.statements:
        statement.expression = _one(replaced(_with_parameters(statement.expression, parameters), known))
        if isinstance(statement.expression, ast.Name) and len(statement.targets) == 1:
            known[statement.targets[0]] = statement.expression
            source = getattr(statement.expression, "value", None)
            if source is not None:
                source.name = source.name or statement.targets[0].name
        else:
            kept.append(statement)
    code.statements = kept
    assert code.result is not None
    code.result = replaced(_with_parameters(code.result, parameters), known)


def _one(node: ast.expr) -> ast.expr:
    """Returns the one of two expressions that either mode has, if they are the same."""
    if isinstance(node, ast.IfExp) and hasattr(node, "chosen") and text(node.body) == text(node.orelse):
        return node.body
    return node


def _with_parameters(node: ast.expr, parameters: dict[str, Value]) -> ast.expr:
    """Returns an expression in which the name of a parameter stands for its value."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and not hasattr(each, "value") and each.id in parameters:
            marked(each, value=parameters[each.id])
    return node


def _reach(node: ast.expr, tree: Any, known: dict[Value, ast.expr]) -> None:
    """Notes the expressions of the values in a nesting that is an argument."""
    if isinstance(tree, Value):
        known.setdefault(tree, node)
        return
    items = (
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    )
    for key, each in items:
        _reach(ast.Subscript(value=node, slice=ast.Constant(value=key), ctx=ast.Load()), each, known)


def drop_unused(code: Code) -> None:
    """Drops statements whose values nobody reads."""
    used = {*references(code.result)} if code.result is not None else set()
    kept = []
    for each in reversed(code.statements):
        if not each.targets or any(target in used for target in each.targets):
            used |= {*references(each)}
            kept.append(each)
    code.statements = kept[::-1]


Row: TypeAlias = dict[Code, Statement]  # one statement of the bodies that have it


def nested(rows: list[Row], uses: Counter[Value]) -> list[Row]:
    """Writes values into their one use, where both are next to each other and belong together.

    Args:
        rows: Statements of several bodies that are one; the last of them may be what is returned.
        uses: Number of times that each value is read.
    """
    kept: list[Row] = []
    for row in rows:
        if all(isinstance(each, Loop) for each in row.values()):
            _nest_loops([each for each in row.values() if isinstance(each, Loop)], [*row], uses)
        if all(isinstance(each, Branch) for each in row.values()):
            _nest_branches([each for each in row.values() if isinstance(each, Branch)], [*row], uses)
        while kept and kept[-1].keys() == row.keys():
            nested = {code: _nested(kept[-1][code], each, uses) for code, each in row.items()}
            found = {code: each for code, each in nested.items() if each is not None}
            if found.keys() != row.keys():
                break
            for code, each in row.items():
                each.expression = found[code]
                each.statement = kept[-1][code].statement if not each.targets else each.statement
            kept.pop()
        kept.append(row)
    return kept


def _nest_loops(loops: list[Loop], codes: list[Code], uses: Counter[Value]) -> None:
    handed = {turn[2] for loop in loops for turn in loop.carried}
    inner = [dict(zip(codes, each, strict=True)) for each in zip(*(loop.body for loop in loops), strict=True)]
    more = uses + Counter(dict.fromkeys(handed, 2))  # read by the next turn, too
    found = nested(inner, more)
    for code, loop in zip(codes, loops, strict=True):
        loop.body = [row[code] for row in found]


def _nest_branches(branches: list[Branch], codes: list[Code], uses: Counter[Value]) -> None:
    for name in ("body", "orelse"):
        arms = [getattr(each, name) for each in branches]
        inner = [dict(zip(codes, each, strict=True)) for each in zip(*arms, strict=True)]
        found = nested(inner, uses)
        for code, each in zip(codes, branches, strict=True):
            setattr(each, name, [row[code] for row in found])


def counted(rows: list[Row]) -> Counter[Value]:
    """Returns how often each value is read."""
    uses: Counter[Value] = Counter()

    def count(statement: Statement) -> None:
        if isinstance(statement, Loop):
            uses.update(references(statement.expression))
            uses.update({turn[0]: 2 for turn in statement.carried})
            for each in statement.body:
                count(each)
        elif isinstance(statement, Branch):
            uses.update(value for end in statement.ends for value in end)
            uses.update(statement.targets)
            for each in (*statement.body, *statement.orelse):
                count(each)
        else:
            uses.update(references(statement))

    for row in rows:
        for statement in row.values():
            count(statement)
    return uses


def _nested(before: Statement, after: Statement, uses: Counter[Value]) -> ast.expr | None:
    """Returns the expression of the second with the first written into it; None if they are better apart."""
    if len(before.targets) != 1 or isinstance(before, Loop | Branch) or isinstance(after, Loop | Branch):
        return None
    target = before.targets[0]
    if uses[target] != 1 or target not in references(after.expression):
        return None
    bare = isinstance(after.expression, ast.Name)
    activation = isinstance(after.expression, ast.Call) and is_activation(after.expression.func)
    if before.statement != after.statement and not activation and not bare:
        return None
    if has_layer(before.expression) and (is_layer(after.expression) or _follows(before, after)):
        return None
    made: ast.expr = replaced(after.expression, {target: before.expression})
    return made if bare or width(made) <= WIDEST else None


def _follows(before: Statement, after: Statement) -> bool:
    """Returns whether both have layers of a Sequential, which are one after the other, and so numbered."""
    return has_layer(after.expression) and any(
        isinstance(node, ast.keyword)
        and isinstance(node.value, ast.Constant)
        and node.arg == "name"
        and str(node.value.value).rpartition(".")[2].isdecimal()
        for node in ast.walk(before.expression)
    )


def width(node: ast.AST) -> int:
    """Returns about how many characters an expression will have."""
    made = copied(node)
    trimmed(made, {})
    shown = re.sub(r"value\d+", "value", text(made))
    return len(shown.replace(", use_running_average=not train", ""))
