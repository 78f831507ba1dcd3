"""Columns: the numbers at one place of a class, by instance; and the fields that they become."""

import ast
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn

from converters.porting.writing import trees
from converters.porting.writing.compound import Loop
from converters.porting.writing.merging import Body
from converters.porting.writing.naming import RESERVED
from converters.porting.writing.trees import Function, constant

MISSING = object()  # the number of a statement that an instance does not have
OWNED = {*dir(nn.Module), "name", "parent", "training", "dtype", *RESERVED}
LARGEST_FACTOR = 8  # of a field, in what is written as a multiple of it


@dataclass(eq=False, kw_only=True)
class Field:
    """A field.

    Attributes:
        name: Its name.
        values: By instance; MISSING where an instance does not use it.
        default: MISSING if it has none.
        optional: If true, it may be None.
    """

    name: str
    values: list[Any]
    default: Any = MISSING
    optional: bool = False

    @property
    def annotation(self) -> str:
        """Returns its type."""
        known = sorted({_type(each) for each in self.values if each is not MISSING and each is not None})
        return " | ".join([*known, "None"] if self.optional else known)


@dataclass(eq=False, kw_only=True)
class Column:
    """A number that stands at one place of a class, for each instance.

    Attributes:
        values: By instance; MISSING where an instance does not have the place.
        nodes: Syntax trees of those that have it.
        row: Number of the statement.
        looped: If true, that is a loop.
    """

    values: list[Any]
    nodes: list[Any]
    row: int
    looped: bool

    @property
    def role(self) -> str:
        """Returns the name of the argument that the number is; "" if it has none."""
        found = getattr(self.nodes[0], "role", "")
        return found if len(found) > 1 else ""

    @property
    def known(self) -> list[Any]:
        """Returns the values of the instances that have it."""
        return [each for each in self.values if each is not MISSING]

    @property
    def varies(self) -> bool:
        """Returns whether instances have different numbers."""
        return len({repr(each) for each in self.known}) > 1

    @property
    def usual_name(self) -> str:
        """Returns a name for a field after what the number is."""
        known = next(each for each in self.known if each is not None)
        return self.role or ("activation" if isinstance(known, Function) else "value")

    def become(self, made: ast.expr) -> None:
        """Writes an expression in the number's place."""
        for node in self.nodes:
            trees.become(node, made)


@dataclass(eq=False, kw_only=True)
class Choices:
    """Decisions about a class.

    Attributes:
        body: Its statements.
        fields: Its fields, in order.
        conditions: The condition of each row that not all instances have.
        flags: Conditions by which instances they hold for.
        counted: If true, layers are numbered in the order in which they are called.
    """

    body: Body
    fields: list[Field] = field(default_factory=list)
    conditions: dict[int, str] = field(default_factory=dict)
    flags: dict[tuple[bool, ...], str] = field(default_factory=dict)
    counted: bool = False

    def free(self, name: str) -> bool:
        """Returns whether a field may have a name."""
        taken = {each.name for each in self.fields} | {*self.flags.values()}
        return name.isidentifier() and not name.startswith("_") and name not in taken | OWNED

    def unused(self, name: str, kept: Set[str] = frozenset()) -> str:
        """Returns a name that no field has, with a number if need be; none of `kept`."""
        made, number = name, 1
        while made in kept or not self.free(made):
            number += 1
            made = f"{name}{number}"
        return made


def columns_of(body: Body) -> list[Column]:
    """Returns the numbers of all places of a class."""
    found = []
    for index, row in enumerate(body.rows):
        shapes = {code: trees.shape(each).constants for code, each in row.items()}
        looped = isinstance(next(iter(row.values())), Loop)
        for place, nodes in enumerate(zip(*shapes.values(), strict=True)):
            values = [constant(shapes[c][place]) if c in row else MISSING for c in body.codes]
            found.append(Column(values=values, nodes=[*nodes], row=index, looped=looped))
    return found


def factor(pairs: Sequence[tuple[Any, Any]]) -> int | None:
    """Returns the small number of which all second numbers are that multiple of the first."""
    if len({a for a, _ in pairs if type(a) is int}) < 2 or not all(
        type(a) is type(b) is int and a > 1 for a, b in pairs
    ):
        return None
    found = {b // a for a, b in pairs if b % a == 0} if all(b % a == 0 for a, b in pairs) else set()
    return found.pop() if len(found) == 1 and 2 <= max(found) <= LARGEST_FACTOR else None


def are_halves(pairs: Sequence[tuple[Any, Any]]) -> bool:
    """Returns whether second numbers are halves of different odd first ones, as paddings are of kernels."""
    whole = all(type(a) is type(b) is int and a % 2 and b == a // 2 for a, b in pairs)
    return whole and len({a for a, _ in pairs}) > 1


def fits(one: Sequence[Any], two: Sequence[Any]) -> bool:
    """Returns whether two columns are one field: nowhere different, and somewhere the same."""
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if a is not MISSING and b is not MISSING]
    return bool(pairs) and all(same(a, b) for a, b in pairs)


def same(a: Any, b: Any) -> bool:
    """Returns whether an attribute of a torch module is a number of Flax's layer."""
    if isinstance(b, int) and isinstance(a, tuple) and a and len({*map(str, a)}) == 1:
        a = a[0]  # torch's (2, 2) is Flax's 2
    return type(a) is type(b) and bool(a == b)


def _type(value: Any) -> str:
    if isinstance(value, Function):
        return "Callable[[jax.Array], jax.Array]"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(_type(each) for each in value)}]"
    return type(value).__name__
