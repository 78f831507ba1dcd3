"""Writes statements of one mode under `if train:`."""

import ast
from collections.abc import Sequence
from typing import Any

from converters.porting.emit import Code, Statement
from converters.porting.expressions import reference
from converters.porting.graph import Value
from converters.porting.writing.compound import Branch
from converters.porting.writing.trees import references, replaced


def branched(code: Code) -> None:
    """Writes the statements of a body that have a mode, and the choices between modes, as branches."""
    made: list[Statement] = []
    run: list[Statement] = []
    for at, each in enumerate(code.statements):
        rest = code.statements[at:]
        if each.when is None and not is_choice(each):
            if run and references(each):
                _close(run, made, rest, code)
            made.append(each)  # what reads nothing, such as an array of the module, may go before
            continue
        chosen = {target for before in run if is_choice(before) for target in before.targets}
        if chosen & {*references(each)}:
            _close(run, made, rest, code)
        run.append(each)
    _close(run, made, [], code)
    code.statements = made


def is_choice(statement: Statement) -> bool:
    """Returns whether a statement chooses one of two arrays by the mode."""
    return isinstance(statement.expression, ast.IfExp) and hasattr(statement.expression, "chosen")


def _close(run: list[Statement], made: list[Statement], rest: Sequence[Statement], code: Code) -> None:
    """Writes a run of statements as one branch."""
    if run:
        made.append(_Closing(run, rest, code).branch())
        run.clear()


class _Closing:
    """A branch while it is made.

    Args:
        run: Its statements.
        rest: Statements after it, which may get another value to read.
        code: The body.
    """

    def __init__(self, run: Sequence[Statement], rest: Sequence[Statement], code: Code) -> None:
        self._rest, self._code = rest, code
        self._choices = [each for each in run if is_choice(each)]
        self._arms = {
            when: [each for each in run if each.when is when and not is_choice(each)]
            for when in (True, False)
        }
        train, evaluated = (any(each.arrays for each in self._arms[when]) for when in (True, False))
        self._fills = train, evaluated
        self._taken: set[Value] = set()

    def branch(self) -> Branch:
        ends = [self._end(each) for each in self._choices]
        own = [value for arm in self._arms.values() for each in arm for value in each.targets]
        given = {value for end in ends for value in end}
        later = self._read_later()
        return Branch(
            targets=[*(end[0] for end in ends), *(v for v in own if v in later and v not in given)],
            expression=ast.Name(id="train", ctx=ast.Load()),
            statement=-1,
            body=self._arms[True],
            orelse=self._arms[False],
            ends=ends,
            fills=self._fills,
        )

    def _end(self, choice: Statement) -> tuple[Value, Value, Value]:
        """Returns what a choice gives, and the values that the arms have for it."""
        (target,) = choice.targets
        expressions: Any = choice.expression
        sides = {True: expressions.body, False: expressions.orelse}
        found: dict[bool, Value] = {}
        for when, side in sides.items():
            value = getattr(side, "value", None) if isinstance(side, ast.Name) else None
            own = any(value in each.targets for each in self._arms[when])
            if value is not None and own and value not in self._taken:
                found[when] = value
                self._taken.add(value)
                self._replace(value, target)
        for when, side in sides.items():
            if when not in found:
                found[when] = self._outer(side, target, when=when, other=found.get(not when))
        return target, found[True], found[False]

    def _outer(self, side: ast.expr, target: Value, *, when: bool, other: Value | None) -> Value:
        """Returns a value from before the branch, if nobody reads it later, or a copy of it."""
        value = getattr(side, "value", None) if isinstance(side, ast.Name) else None
        if (
            isinstance(value, Value)
            and other is not None
            and value not in self._taken
            and not all(self._fills)
            and value not in self._read_later()
            and not any(value in each.targets for each in self._arms[when])
        ):
            self._taken.add(value)
            return value
        copy = Value(shape=target.shape, dtype=target.dtype, name=target.name)
        self._arms[when].append(Statement(targets=[copy], expression=side, statement=-1))
        return copy

    def _read_later(self) -> set[Value]:
        found = {*references(self._code.result)}
        for each in self._rest:
            found |= {*references(each)}
        return found

    def _replace(self, value: Value, target: Value) -> None:
        """Lets what comes later read what the branch ends with, in place of what an arm has for it."""
        known = {value: reference(target)}
        for each in self._rest:
            each.expression = replaced(each.expression, known)
        self._code.result = replaced(self._code.result, known)
