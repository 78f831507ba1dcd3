"""Runs of statements that may be the turns of a loop."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from converters.porting.dialects import Dialect
from converters.porting.emit import Code, Statement
from converters.porting.graph import Value
from converters.porting.writing import bodies, trees
from converters.porting.writing.compound import Branch, Loop
from converters.porting.writing.trees import Shape, constant, digits_apart, kind, references

WIDEST_TABLE = 4  # columns of a loop's table, if it has few rows
MANY = 5  # rows that may have more


@dataclass(eq=False, kw_only=True)
class Run:
    """Statements of a body that are several turns of a loop.

    Attributes:
        start: The first one's number.
        size: Statements of a turn.
        turns: Number of turns.
        shapes: Shapes of each turn's statements, one after the other.
        columns: For each number that differs between turns, or that is the same: its values by turn; the
            numbers in a text are columns of their own.
        named: Columns that are numbers in the names of layers.
        carried: For each value that a turn reads and the turn before makes in its stead: its place among
            what a turn makes.
    """

    statements: Sequence[Statement]
    start: int
    size: int
    turns: int
    shapes: list[Shape]
    columns: list[tuple[Any, ...]]
    named: set[tuple[Any, ...]]
    carried: dict[Value, int] = field(default_factory=dict)

    @classmethod
    def at(
        cls,
        code: Code,
        dialect: Dialect,
        known: Sequence[Shape],
        start: int,
        size: int,
        *,
        tables: bool,
    ) -> "Run | None":
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
            called = not dialect.declares or run.named_by_numbers()
            if called and run.written(tables=tables) and run.connected(code):
                return run
        return None

    def named_by_numbers(self) -> bool:
        """Returns whether the names that differ are places in lists, or in many turns keys of a dict.

        Lists have no gaps: the places that the turns call are one after the other. A list in a list is one
        for several turns, which none of them could make.
        """
        places: dict[tuple[str, ...], set[int]] = {}
        for nodes in zip(*(each.constants for each in self.shapes), strict=True):
            found = {value for node in nodes if isinstance(value := constant(node), str)}
            parts = [*zip(*(each.split(".") for each in found), strict=False)]
            changing = [at for at, each in enumerate(parts) if len({*each}) > 1]
            mixed = [at for at in changing if not all(each.isdecimal() for each in parts[at])]
            if len(changing) > 1 or (mixed and self.turns < MANY):
                return False
            if changing and not mixed:
                at = changing[0]
                held = places.setdefault(tuple(each[0] for each in parts[:at]), set())
                held |= {int(each) for each in parts[at]}
        gaps = any(max(each) - min(each) >= len(each) for each in places.values())
        return self.turns >= MANY or not gaps

    @property
    def different(self) -> list[tuple[Any, ...]]:
        """Returns the columns that need one in a table, each once."""
        found: list[tuple[Any, ...]] = []
        for each in self.columns:
            if (
                len({*each}) > 1
                and not self.is_counted(each)
                and not any(apart(one, each) is not None for one in found)
            ):
                found.append(each)
        return found

    def is_counted(self, column: tuple[Any, ...]) -> bool:
        """Returns whether the names of layers count up as the numbers of a column do."""
        return counts(column) and any(counts(each) and each[0] == column[0] for each in self.named)

    @property
    def saved(self) -> float:
        """Returns how many lines the loop is shorter than its turns; a table costs some that are saved."""
        own = sum(map(lines, self.turn(0)))
        table = len(self.different)
        room = 1 + self.turns if self.turns * table > 9 else 0
        return own * (self.turns - 1) - 1 + 0.5 * (not table) - (1 + 0.5 * table + room if table else 0)

    def written(self, *, tables: bool) -> bool:
        """Returns whether what differs between turns can be written, and is worth it."""
        counted = [each for each in self.columns if self.is_counted(each)]
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
        made = [[t for s in self.turn(number) for t in trees.made(s)] for number in range(self.turns)]
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

    def turn(self, number: int) -> Sequence[Statement]:
        """Returns the statements of a turn."""
        start = self.start + number * self.size
        return self.statements[start : start + self.size]


def _alike(one: Shape, two: Shape) -> bool:
    if one.tokens != two.tokens or len(one.constants) != len(two.constants):
        return False
    for a, b in zip(map(constant, one.constants), map(constant, two.constants), strict=True):
        if isinstance(a, str) and digits_apart(a)[0] != digits_apart(b)[0]:
            return False
        if kind(a) != kind(b):  # which one column of a table cannot have
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


def counts(column: tuple[Any, ...]) -> bool:
    """Returns whether numbers count up by one."""
    return all(type(each) is int for each in column) and all(b - a == 1 for a, b in pairwise(column))


def lines(statement: Statement) -> int:
    """Returns about how many lines a statement has."""
    if isinstance(statement, Loop):
        return 1 + sum(map(lines, statement.body))
    if isinstance(statement, Branch):
        return 1 + bool(statement.orelse) + sum(map(lines, (*statement.body, *statement.orelse)))
    found = bodies.width(statement.expression)
    if found <= 75:
        return 1
    match statement.expression:
        case ast.Call(func=ast.Call(args=args, keywords=keywords)) if found > 95:
            return 2 + len(args) + len(keywords)
    return 3


def apart(one: tuple[Any, ...], two: tuple[Any, ...]) -> int | None:
    """Returns the number by which the numbers of a second column are larger; None if there is none."""
    if not all(type(each) is int for each in (*one, *two)):
        return 0 if one == two else None
    steps = {b - a for a, b in zip(one, two, strict=True)}
    return steps.pop() if len(steps) == 1 else None
