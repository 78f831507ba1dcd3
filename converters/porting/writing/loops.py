"""Runs of equal statements as loops: over a count, or over a table of what differs."""

import ast
from collections.abc import Sequence
from typing import Any

from converters.porting.dialects import Dialect
from converters.porting.emit import Code, Statement
from converters.porting.expressions import expression, literal, reference
from converters.porting.graph import Value
from converters.porting.writing import trees
from converters.porting.writing.compound import Loop
from converters.porting.writing.runs import Run, apart, counts, lines
from converters.porting.writing.trees import Shape, constant, digits_apart, references, renamed

LONGEST_TURN = 6  # statements of a turn


def looped(code: Code, dialect: Dialect, *, tables: bool = False) -> None:
    """Writes loops for runs of statements.

    Args:
        code: The body.
        dialect: Flax's way of writing modules, linen or NNX.
        tables: If true, turns may have several statements, and numbers that a table gives; otherwise they
            have one, and differ in what is counted.
    """
    if not tables:
        _loop(code, dialect, 1)
        return
    flat = [trees.copied_statement(each) for each in code.statements]
    _loop(code, dialect, 1)
    _loop(code, dialect, LONGEST_TURN)
    counted, code.statements = code.statements, flat
    _loop(code, dialect, LONGEST_TURN)
    if sum(map(lines, code.statements)) >= sum(map(lines, counted)):
        code.statements = counted


def _loop(code: Code, dialect: Dialect, longest: int) -> None:
    start = 0
    shapes = [trees.shape(each) for each in code.statements]
    while start < len(code.statements):
        found = _best(code, dialect, shapes, start, longest)
        if found is not None:
            made = _written(found, code)
            code.statements[start : start + found.size * found.turns] = made
            shapes[start : start + found.size * found.turns] = [trees.shape(each) for each in made]
        start += 1


def _best(code: Code, dialect: Dialect, shapes: Sequence[Shape], start: int, longest: int) -> Run | None:
    best: Run | None = None
    for size in range(1, longest + 1):
        run = Run.at(code, dialect, shapes, start, size, tables=longest > 1)
        if run is not None and run.saved > (best.saved if best else 0):
            best = run
    return best


def _written(run: Run, code: Code) -> list[Statement]:
    """Returns the loop, after copies of what it changes and others need."""
    body = [*run.turn(0)]
    variables = _variables(run)
    _put(trees.shape(body), run.columns, variables)
    first = [t for each in body for t in trees.made(each)]
    last = [t for each in run.turn(run.turns - 1) for t in trees.made(each)]
    after = code.statements[run.start + run.size * run.turns :]
    later = {*(value for each in after for value in references(each)), *references(code.result)}
    copies: list[Statement] = []
    loop = Loop(
        targets=[last[at] for at in run.carried.values()],
        expression=_iterable(run, variables),
        statement=-1,
        variables=_target(variables),
        body=body,
    )
    for before, at in run.carried.items():
        inside, kept = (Value(shape=before.shape, dtype=before.dtype, name=first[at].name) for _ in range(2))
        loop.body = [renamed(each, {before: inside}) for each in loop.body]
        if before in later:
            copies.append(Statement(targets=[kept], expression=reference(before), statement=-1))
        loop.carried.append((kept if before in later else before, inside, first[at]))
    return [*copies, loop]


def _variables(run: Run) -> dict[tuple[Any, ...], Value]:
    """Returns the loop's variable for each column that differs; the count's has the key ()."""
    roles = _roles(run)
    made = {each: Value(shape=(), dtype="", name=roles[each]) for each in run.different}
    counted = [each for each in run.columns if run.is_counted(each)]
    if counted:
        start = min(each[0] for each in counted)
        made[()] = Value(shape=(), dtype=str(0 if start == 1 and not made else start), name="i")
    return made


def _roles(run: Run) -> dict[tuple[Any, ...], str]:
    roles: dict[tuple[Any, ...], str] = {}
    names = [role for node in run.shapes[0].constants for role in _role(node)]
    for column, role in zip(run.columns, names, strict=True):
        roles.setdefault(column, role or "n")
    return roles


def _target(variables: dict[tuple[Any, ...], Value]) -> ast.expr:
    table: list[ast.expr] = [reference(value) for key, value in variables.items() if key]
    count = variables.get(())
    columns: ast.expr | None = None
    if table:
        columns = table[0] if len(table) == 1 else ast.Tuple(elts=table, ctx=ast.Store())
    if count is None:
        return columns if columns is not None else ast.Name(id="_", ctx=ast.Store())
    if columns is None:
        return reference(count)
    return ast.Tuple(elts=[reference(count), columns], ctx=ast.Store())


def _iterable(run: Run, variables: dict[tuple[Any, ...], Value]) -> ast.expr:
    table = [key for key in variables if key]
    count = variables.get(())
    start = int(count.dtype) if count is not None else 0
    if not table:
        end = literal(start + run.turns, "depth")
        return expression("range(a, n)", a=start, n=end) if start else expression("range(n)", n=end)
    rows = [each[0] if len(each) == 1 else each for each in zip(*table, strict=True)]
    shown = ast.Tuple(elts=[_row(each) for each in rows], ctx=ast.Load())
    if count is None:
        return shown
    return expression("enumerate(t, a)", t=shown, a=start) if start else expression("enumerate(t)", t=shown)


def _row(row: Any) -> ast.expr:
    if isinstance(row, tuple):
        return ast.Tuple(elts=[_row(each) for each in row], ctx=ast.Load())
    return (
        ast.parse(row.name, mode="eval").body if isinstance(row, trees.Function) else ast.Constant(value=row)
    )


def _role(node: Any) -> list[str]:
    value = constant(node)
    return [""] * len(digits_apart(value)[1]) if isinstance(value, str) else [getattr(node, "role", "")]


def _put(found: Shape, columns: list[tuple[Any, ...]], variables: dict[tuple[Any, ...], Value]) -> None:
    """Puts the loop's variables into the place of the numbers of its first turn."""
    at = 0
    for node in found.constants:
        value = constant(node)
        count = len(digits_apart(value)[1]) if isinstance(value, str) else 1
        parts = [_part(column, variables) for column in columns[at : at + count]]
        at += count
        if all(part is None for part in parts):
            continue
        if isinstance(value, str):
            trees.become(node, _formatted(value, parts))
        else:
            trees.become(node, parts[0])


def _part(column: tuple[Any, ...], variables: dict[tuple[Any, ...], Value]) -> ast.expr | None:
    if len({*column}) == 1:
        return None
    if () in variables and counts(column) and column not in variables:
        return _shifted(variables[()], column[0] - int(variables[()].dtype))
    for key, value in variables.items():
        if key and (step := apart(key, column)) is not None:
            return _shifted(value, step)
    raise AssertionError("a column without a variable")


def _shifted(value: Value, step: int) -> ast.expr:
    if not step:
        return reference(value)
    return expression("i + n" if step > 0 else "i - n", i=reference(value), n=abs(step))


def _formatted(value: str, parts: list[ast.expr | None]) -> ast.expr:
    """Returns a text with expressions in place of its numbers."""
    shape, numbers = digits_apart(value)
    made: list[ast.expr] = []
    for index, piece in enumerate(shape.split("#")):
        if index:
            part = parts[index - 1]
            number = ast.Constant(value=str(numbers[index - 1]))
            made.append(number if part is None else ast.FormattedValue(value=part, conversion=-1))
        if piece:
            made.append(ast.Constant(value=piece))
    return ast.JoinedStr(values=made)
