"""A scope's statements as a person would write them: nested where the torch code nests, with its names."""

import ast
import copy
import keyword
from collections import Counter
from typing import Any

from converters.porting.emit import Code, Statement
from converters.porting.graph import Value

WIDEST = 90  # characters of an expression that others are written into
RESERVED = {"self", "train", "nn", "jnp", "jax", *keyword.kwlist}


def tidy(code: Code) -> None:
    """Drops what nobody uses, and nests what the torch code nests."""
    _forget_aliases(code)
    _drop_unused(code)
    _nest(code)


def references(node: ast.AST) -> list[Value]:
    """Returns the values that an expression uses."""
    return [each.value for each in ast.walk(node) if isinstance(each, ast.Name) and hasattr(each, "value")]


def _forget_aliases(code: Code) -> None:
    known: dict[Value, ast.expr] = {}
    for name, given in code.parameters.items():
        if not isinstance(given, Value):
            _reach(ast.Name(id=_named(name), ctx=ast.Load()), given, known)
    kept = []
    for each in code.statements:
        each.expression = _replaced(each.expression, known)
        if isinstance(each.expression, ast.Name) and len(each.targets) == 1:
            known[each.targets[0]] = each.expression
            source = getattr(each.expression, "value", None)
            if source is not None:
                source.name = source.name or each.targets[0].name
        else:
            kept.append(each)
    code.statements = kept
    assert code.result is not None
    code.result = _replaced(code.result, known)


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


def _drop_unused(code: Code) -> None:
    used = {*references(code.result)} if code.result is not None else set()
    kept = []
    for each in reversed(code.statements):
        if any(target in used for target in each.targets):
            used |= {*references(each.expression)}
            kept.append(each)
    code.statements = kept[::-1]


def _nest(code: Code) -> None:
    """Writes a value into its one use, where both are in one torch statement and next to each other."""
    counts: Counter[Value] = Counter()
    for each in code.statements:
        counts.update(references(each.expression))
    counts.update(references(code.result) if code.result is not None else [])
    kept: list[Statement] = []
    for each in code.statements:
        while kept and len(kept[-1].targets) == 1:
            before = kept[-1]
            target = before.targets[0]
            if (
                before.statement != each.statement
                or counts[target] != 1
                or target not in references(each.expression)
            ):
                break
            if is_layer(before.expression) and is_layer(each.expression):
                break
            nested = _replaced(each.expression, {target: before.expression})
            if len(_text(nested)) > WIDEST:
                break
            each.expression = nested
            kept.pop()
        kept.append(each)
    last = kept[-1] if kept else None
    if last is not None and isinstance(code.result, ast.Name) and references(code.result) == last.targets:
        code.result = last.expression
        kept.pop()
    code.statements = kept


def _text(node: ast.expr) -> str:
    return ast.unparse(ast.fix_missing_locations(node))


class _Replacing(ast.NodeTransformer):
    def __init__(self, known: dict[Value, ast.expr]) -> None:
        self._known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._known.get(getattr(node, "value", None), node)  # type: ignore[arg-type]


def _replaced(node: ast.expr, known: dict[Value, ast.expr]) -> ast.expr:
    return _Replacing(known).visit(copied(node))


def copied(node: Any) -> Any:
    """Returns a copy of a tree that shares what is no syntax."""
    if isinstance(node, list):
        return [copied(each) for each in node]
    if not isinstance(node, ast.AST):
        return node
    made = copy.copy(node)
    for name, value in ast.iter_fields(node):
        setattr(made, name, copied(value))
    return made


def is_layer(node: ast.AST) -> bool:
    """Returns whether an expression makes a layer and calls it."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Call)


def name_values(code: Code) -> list[str]:
    """Gives each value a name, used again where the one before is no longer needed; returns the parameters'."""
    last: dict[Value, int] = {}
    for index, each in enumerate(code.statements):
        for value in references(each.expression):
            last[value] = index
    for value in references(code.result) if code.result is not None else []:
        last[value] = len(code.statements)
    names: dict[Value, str] = {}
    taken: dict[str, Value] = {}
    parameters = []
    for name, given in code.parameters.items():
        parameters.append(_named(name))
        if isinstance(given, Value):
            names[given] = taken_name = parameters[-1]
            taken[taken_name] = given
    for index, each in enumerate(code.statements):
        for target in each.targets:
            hint = _named(target.name or _first(each, names) or "x")
            number, name = 1, hint
            while (name in taken and last.get(taken[name], -1) > index) or name in RESERVED:
                number += 1
                name = f"{hint}{number}"
            names[target], taken[name] = name, target
    for each in code.statements:
        _write(each.expression, names)
    if code.result is not None:
        _write(code.result, names)
    code.names = names
    return parameters


def _first(statement: Statement, names: dict[Value, str]) -> str:
    found = [names[value] for value in references(statement.expression) if value in names]
    return found[0].rstrip("0123456789") if found else ""


def _named(name: str) -> str:
    return f"{name}_" if name in RESERVED else name


def _write(node: ast.AST, names: dict[Value, str]) -> None:
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and hasattr(each, "value"):
            each.id = names[each.value]
