"""The parts of the names of layers: attributes, places in lists, keys of dicts."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters.errors import ConversionError
from converters.porting.writing.trees import text


@dataclass(frozen=True)
class Part:
    """The part of a name between two dots.

    Attributes:
        shown: Its text, with expressions in braces where it has some.
        node: Expression of the text; None where it is always the same.
        index: If the whole text is one number that is computed: the expression of that number.
    """

    shown: str
    node: ast.expr | None = None
    index: ast.expr | None = None

    @property
    def number(self) -> int | None:
        """Returns the place in a list that it always is; None if it is something else."""
        return int(self.shown) if self.node is None and self.shown.isdecimal() else None

    @property
    def attribute(self) -> bool:
        """Returns whether it may be the name of an attribute."""
        return self.node is None and self.shown.isidentifier()

    @property
    def counted(self) -> bool:
        """Returns whether it is the number of the layer in the order of calls."""
        return self.index is not None and text(self.index) == "next(index)"

    def key(self) -> ast.expr:
        """Returns its text as an expression."""
        return ast.Constant(value=self.shown) if self.node is None else self.node

    def variables(self) -> set[str]:
        """Returns the variables that it depends on."""
        nodes = ast.walk(self.node) if self.node is not None else ()
        return {each.id for each in nodes if isinstance(each, ast.Name)}


def parts_of(name: ast.expr) -> tuple[Part, ...]:
    """Returns the parts of a name, which may have expressions in it, or be one of two texts."""
    match name:
        case ast.Constant(value=str() as value):
            return tuple(Part(each) for each in value.split("."))
        case ast.JoinedStr(values=values):
            return tuple(map(_formatted, _split(values)))
        case ast.IfExp(test=test, body=ast.Constant() as one, orelse=ast.Constant() as two):
            pairs = [*zip(str(one.value).split("."), str(two.value).split("."), strict=False)]
            if str(one.value).count(".") == str(two.value).count("."):
                return tuple(Part(a) if a == b else _either(test, a, b) for a, b in pairs)
    raise ConversionError(f"names of layers that are {text(name)}")


def _either(test: ast.expr, one: str, two: str) -> Part:
    def chosen(kind: Any) -> ast.expr:
        yes, no = ast.Constant(value=kind(one)), ast.Constant(value=kind(two))
        return ast.IfExp(test=test, body=yes, orelse=no)

    shown = f"{{{one} or {two}}}"
    return Part(shown, chosen(str), chosen(int) if one.isdecimal() and two.isdecimal() else None)


def _split(values: Sequence[ast.expr]) -> list[list[ast.expr]]:
    """Returns the pieces of a formatted text between its dots."""
    found: list[list[ast.expr]] = [[]]
    for each in values:
        if not isinstance(each, ast.Constant):
            found[-1].append(each)
            continue
        first, *rest = str(each.value).split(".")
        for index, piece in enumerate([first, *rest]):
            if index:
                found.append([])
            if piece:
                found[-1].append(ast.Constant(value=piece))
    return found


def _formatted(pieces: list[ast.expr]) -> Part:
    match pieces:
        case [ast.Constant(value=value)]:
            return Part(str(value))
        case [ast.FormattedValue(value=value)]:
            return Part(f"{{{text(value)}}}", ast.JoinedStr(values=pieces), value)
    if all(isinstance(each, ast.Constant) for each in pieces):
        return Part("".join(str(getattr(each, "value", "")) for each in pieces))
    shown = "".join(
        str(each.value) if isinstance(each, ast.Constant) else f"{{{text(each)}}}" for each in pieces
    )
    return Part(shown, ast.JoinedStr(values=pieces))
