"""Statements that hold others: loops, and branches of one mode."""

import ast
from dataclasses import dataclass, field

from converters.porting.code import Statement
from converters.porting.graph import Value


@dataclass(eq=False, kw_only=True)
class Loop(Statement):
    """Statements that run several times.

    Attributes:
        variables: Targets of the loop, as an expression of values: a count, or columns of a table.
        body: The statements.
        carried: For what each turn hands to the next: the value before the loop, the one that the body
            reads, and the one that it makes; the loop's targets are the last ones of these.
    """

    variables: ast.expr
    body: list[Statement]
    carried: list[tuple[Value, Value, Value]] = field(default_factory=list)


@dataclass(eq=False, kw_only=True)
class Branch(Statement):
    """Statements of training, and others of eval mode.

    Its targets are the values that it ends with, and those that only one mode has and goes on to read.

    Attributes:
        body: Statements of training.
        orelse: Statements of eval mode.
        ends: Values that it ends with: after it, in training, in eval mode. That of one mode may be from
            before.
        fills: In which modes it calls layers that have arrays: in training, in eval mode.
    """

    body: list[Statement]
    orelse: list[Statement]
    ends: list[tuple[Value, Value, Value]]
    fills: tuple[bool, bool] = (False, False)
