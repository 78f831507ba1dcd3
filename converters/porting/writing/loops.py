"""Runs of equal statements as loops: over a count, or over a table of what differs."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from converters.porting.emit import Code, Statement
from converters.porting.expressions import expression, literal, reference
from converters.porting.graph import Value
from converters.porting.writing import bodies, trees
from converters.porting.writing.trees import Loop, Shape, constant, digits_apart, references, renamed

LONGEST_TURN = 6  # statements of a turn
WIDEST_TABLE = 4  # columns of a loop's table, if it has few rows
MANY = 5  # rows that may have more


def looped(code: Code, *, tables: bool = False) -> None:
    """Writes loops for runs of statements.

    Args:
        code: The body.
        tables: If true, turns may have several statements, and numbers that a table gives; otherwise they
            have one, and differ in what is counted.
    """
    if not tables:
        _loop(code, 1)
        return
    flat = [trees.copied_statement(each) for each in code.statements]
    _loop(code, 1)
    _loop(code, LONGEST_TURN)
    counted, code.statements = code.statements, flat
    _loop(code, LONGEST_TURN)
    if sum(map(_lines, code.statements)) >= sum(map(_lines, counted)):
        code.statements = counted


def _loop(code: Code, longest: int) -> None:
    start = 0
    shapes = [trees.shape(each) for each in code.statements]
    while start < len(code.statements):
        found = _best(code, shapes, start, longest)
        if found is not None:
            made = found.write(code)
            code.statements[start : start + found.size * found.turns] = made
            shapes[start : start + found.size * found.turns] = [trees.shape(each) for each in made]
        start += 1


def _best(code: Code, shapes: Sequence[Shape], start: int, longest: int) -> "Run | None":
    best: Run | None = None
    for size in range(1, longest + 1):
        run = Run.at(code, shapes, start, size, tables=longest > 1)
        if run is not None and run.saved > (best.saved if best else 0):
            best = run
    return best


@dataclass(eq=False, kw_only=True)
class Run:
    """Statements of a body that are several turns of a loop.

    Attributes:
        start: The first one's number.
        size: Statements of a turn.
        turns: Number of turns.
        shapes: Of each turn's statements, one after the other.
        columns: For each number that differs between turns, or that is the same: its values by turn; the
            numbers in a text are columns of their own.
        named: Columns that are numbers in the names of layers.
    """

    statements: Sequence[Statement]
    start: int
    size: int
    turns: int
    shapes: list[Shape]
    columns: list[tuple[Any, ...]]
    named: set[tuple[Any, ...]]

    @classmethod
    def at(cls, code: Code, known: Sequence[Shape], start: int, size: int, *, tables: bool) -> "Run | None":
        """Returns the longest run of turns of a size; None if there is none of two turns."""
        shapes: list[Shape] = []
        for at in range(start, len(code.statements) - size + 1, size):
            found = trees.together(known[at : at + size])
            if shapes and not _alike(shapes[0], found):
                break
            shapes.append(found)
        for turns in range(len(shapes), 1, -1):
            rows = [_numbers(each) for each in shapes[:turns]]
            run = cls(
                statements=code.statements,
                start=start,
                size=size,
                turns=turns,
                shapes=shapes[:turns],
                columns=[*zip(*rows, strict=True)],
                named=set(),
            )
            names = [is_name for node in shapes[0].constants for is_name in _in_name(node)]
            run.named = {each for each, is_name in zip(run.columns, names, strict=True) if is_name}
            if run.written(tables=tables) and run.connected(code):
                return run
        return None

    @property
    def different(self) -> list[tuple[Any, ...]]:
        """Returns the columns that need one in a table, each once."""
        found: list[tuple[Any, ...]] = []
        for each in self.columns:
            if (
                len({*each}) > 1
                and not self._counts(each)
                and not any(_apart(one, each) is not None for one in found)
            ):
                found.append(each)
        return found

    def _counts(self, column: tuple[Any, ...]) -> bool:
        """Returns whether the names of layers count up as the numbers of a column do."""
        return _counts(column) and any(_counts(each) and each[0] == column[0] for each in self.named)

    @property
    def saved(self) -> float:
        """Returns how many lines the loop is shorter than its turns; a table costs some that are saved."""
        lines = sum(_lines(each) for each in self.statements[self.start : self.start + self.size])
        table = len(self.different)
        room = 1 + self.turns if self.turns * table > 9 else 0
        return lines * (self.turns - 1) - 1 + 0.5 * (not table) - (1 + 0.5 * table + room if table else 0)

    def written(self, *, tables: bool) -> bool:
        """Returns whether what differs between turns can be written, and is worth it."""
        counted = [each for each in self.columns if self._counts(each)]
        if not tables:
            return bool(counted) and not self.different and len({each[0] for each in counted}) == 1
        table = self.different
        if self.turns < MANY:
            if sum(each in self.named for each in table) > 1:
                return False
            functions = any(isinstance(each, trees.Function) for column in table for each in column)
            if functions or len(table) > WIDEST_TABLE or (table and self.turns < 3 and self.size < 3):
                return False
        return self.saved > 0

    def connected(self, code: Code) -> bool:
        """Returns whether each turn reads the same values, or what the turn before made in its stead."""
        first, rest = self.shapes[0], self.shapes[1:]
        made = [[t for s in self._turn(number) for t in trees.made(s)] for number in range(self.turns)]
        places = [{value: at for at, value in enumerate(each)} for each in made]
        found: list[dict[Value, int]] = []
        fixed: set[Value] = set()
        for number, each in enumerate(rest, 1):
            found.append({})
            for a, b in zip(first.values, each.values, strict=True):
                if a in places[0] or b in places[number]:
                    if places[0].get(a) != places[number].get(b):
                        return False
                elif b in places[number - 1]:
                    if found[-1].setdefault(a, places[number - 1][b]) != places[number - 1][b]:
                        return False
                elif a is b:
                    fixed.add(a)
                else:
                    return False
        self.carried = found[0]
        return (
            all(each == self.carried for each in found)
            and not fixed & {*self.carried}
            and self._closed(code, made)
        )

    def _closed(self, code: Code, made: list[list[Value]]) -> bool:
        """Returns whether nobody else reads what a turn makes, but of the last one what is carried on."""
        after = code.statements[self.start + self.size * self.turns :]
        read = {*(value for each in after for value in references(each)), *references(code.result)}
        kept = {made[-1][at] for at in self.carried.values()}
        own = {value for values in made for value in values}
        return not read & (own - kept)

    def _turn(self, number: int) -> Sequence[Statement]:
        start = self.start + number * self.size
        return self.statements[start : start + self.size]

    def write(self, code: Code) -> list[Statement]:
        """Returns the loop, after copies of what it changes and others need."""
        body = [*self._turn(0)]
        variables = self._variables()
        _put(trees.shape(body), self.columns, variables)
        first = [t for each in body for t in trees.made(each)]
        last = [t for each in self._turn(self.turns - 1) for t in trees.made(each)]
        after = code.statements[self.start + self.size * self.turns :]
        later = {*(value for each in after for value in references(each)), *references(code.result)}
        copies: list[Statement] = []
        loop = Loop(
            targets=[last[at] for at in self.carried.values()],
            expression=self._iterable(variables),
            statement=-1,
            variables=self._target(variables),
            body=body,
        )
        for before, at in self.carried.items():
            inside, kept = (
                Value(shape=before.shape, dtype=before.dtype, name=first[at].name) for _ in range(2)
            )
            loop.body = [renamed(each, {before: inside}) for each in loop.body]
            if before in later:
                copies.append(Statement(targets=[kept], expression=reference(before), statement=-1))
            loop.carried.append((kept if before in later else before, inside, first[at]))
        return [*copies, loop]

    def _variables(self) -> dict[tuple[Any, ...], Value]:
        """Returns the loop's variable for each column that differs; the count's has the key ()."""
        roles = self._roles()
        made = {each: Value(shape=(), dtype="", name=roles[each]) for each in self.different}
        counted = [each for each in self.columns if self._counts(each)]
        if counted:
            start = min(each[0] for each in counted)
            made[()] = Value(shape=(), dtype=str(0 if start == 1 and not made else start), name="i")
        return made

    def _roles(self) -> dict[tuple[Any, ...], str]:
        roles: dict[tuple[Any, ...], str] = {}
        names = [role for node in self.shapes[0].constants for role in _role(node)]
        for column, role in zip(self.columns, names, strict=True):
            roles.setdefault(column, role or "n")
        return roles

    def _target(self, variables: dict[tuple[Any, ...], Value]) -> ast.expr:
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

    def _iterable(self, variables: dict[tuple[Any, ...], Value]) -> ast.expr:
        table = [key for key in variables if key]
        count = variables.get(())
        start = int(count.dtype) if count is not None else 0
        if not table:
            end = literal(start + self.turns, "depth")
            return expression("range(a, n)", a=start, n=end) if start else expression("range(n)", n=end)
        rows = [each[0] if len(each) == 1 else each for each in zip(*table, strict=True)]
        shown = ast.Tuple(elts=[_row(each) for each in rows], ctx=ast.Load())
        if count is None:
            return shown
        return (
            expression("enumerate(t, a)", t=shown, a=start) if start else expression("enumerate(t)", t=shown)
        )


def _row(row: Any) -> ast.expr:
    if isinstance(row, tuple):
        return ast.Tuple(elts=[_row(each) for each in row], ctx=ast.Load())
    return (
        ast.parse(row.name, mode="eval").body if isinstance(row, trees.Function) else ast.Constant(value=row)
    )


def _alike(one: Shape, two: Shape) -> bool:
    if one.tokens != two.tokens or len(one.constants) != len(two.constants):
        return False
    for a, b in zip(map(constant, one.constants), map(constant, two.constants), strict=True):
        if isinstance(a, str) and digits_apart(a)[0] != digits_apart(b)[0]:
            return False
    return True


def _numbers(found: Shape) -> list[Any]:
    row: list[Any] = []
    for each in map(constant, found.constants):
        row += digits_apart(each)[1] if isinstance(each, str) else [each]
    return row


def _in_name(node: Any) -> list[bool]:
    value = constant(node)
    return [True] * len(digits_apart(value)[1]) if isinstance(value, str) else [False]


def _role(node: Any) -> list[str]:
    value = constant(node)
    return [""] * len(digits_apart(value)[1]) if isinstance(value, str) else [getattr(node, "role", "")]


def _counts(column: tuple[Any, ...]) -> bool:
    """Returns whether numbers count up by one."""
    return all(type(each) is int for each in column) and all(b - a == 1 for a, b in pairwise(column))


def _lines(statement: Statement) -> int:
    """Returns about how many lines a statement has."""
    if isinstance(statement, Loop):
        return 1 + sum(map(_lines, statement.body))
    found = bodies.width(statement.expression)
    if found <= 75:
        return 1
    match statement.expression:
        case ast.Call(func=ast.Call(args=args, keywords=keywords)) if found > 95:
            return 2 + len(args) + len(keywords)
    return 3


def _apart(one: tuple[Any, ...], two: tuple[Any, ...]) -> int | None:
    """Returns the number by which the numbers of a second column are larger; None if there is none."""
    if not all(type(each) is int for each in (*one, *two)):
        return 0 if one == two else None
    steps = {b - a for a, b in zip(one, two, strict=True)}
    return steps.pop() if len(steps) == 1 else None


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
            _become(node, _formatted(value, parts))
        else:
            _become(node, parts[0])


def _part(column: tuple[Any, ...], variables: dict[tuple[Any, ...], Value]) -> ast.expr | None:
    if len({*column}) == 1:
        return None
    if () in variables and _counts(column) and column not in variables:
        return _shifted(variables[()], column[0] - int(variables[()].dtype))
    for key, value in variables.items():
        if key and (step := _apart(key, column)) is not None:
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


def _become(node: Any, other: Any) -> None:
    """Turns a node into another one, in place."""
    node.__class__ = other.__class__
    node.__dict__ = other.__dict__
