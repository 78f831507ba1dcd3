"""Sizes that depend on the inputs' as expressions of the shapes that are at hand."""

import ast
from collections.abc import Iterable
from typing import Any, Protocol

from converters.errors import ConversionError
from converters.porting.expressions import expression, literal
from converters.porting.graph import Value
from converters.porting.unify import Varying


class Known(Protocol):
    """The values that a body has so far."""

    @property
    def where(self) -> str:
        """Returns the place in the torch code, for messages."""

    def known(self) -> Iterable[Value]:
        """Returns them, the newest last."""

    def given_sizes(self) -> Iterable[tuple[ast.expr, Varying]]:
        """Returns the arguments that are sizes, or parts of one."""

    def shape(self, value: Value, axis: int) -> ast.expr:
        """Returns the size of one of PyTorch's axes."""


def written(body: Known, number: Any) -> ast.expr:
    """Returns a size: a number, or the expression of one that depends on the inputs.

    Raises:
        ConversionError: it depends on them in a way that cannot be followed.
    """
    if not isinstance(number, Varying):
        return literal(number)
    found = _by_origin(body, number) or _by_search(body, number)
    if found is None:
        raise ConversionError(
            f"{body.where}{int(number)} depends on the sizes of the inputs ({number.other} at other ones), "
            "in a way that cannot be followed."
        )
    return found


def _by_origin(body: Known, number: Any) -> ast.expr | None:
    if not isinstance(number, Varying):
        return literal(int(number))
    match number.origin:
        case ("axis", Value() as value, axis) if value in body.known():
            return body.shape(value, axis)
        case ("+" | "-" | "*" | "//" | "%" as symbol, left, right):
            parts = _by_origin(body, left), _by_origin(body, right)
            if symbol == "-" and left == 0 and parts[1] is not None:
                return expression("-b", b=parts[1])
            if parts[0] is not None and parts[1] is not None:
                return expression(f"a {symbol} b", a=parts[0], b=parts[1])
    return None


def _by_search(body: Known, number: Varying) -> ast.expr | None:
    """Finds an axis that has this size in both runs."""
    wanted = (int(number), number.other)
    given = [(found, size) for found, size in body.given_sizes() if (int(size), size.other) == wanted]
    # Height and width of square images are equal: the one of the same origin goes first.
    for found, _ in sorted(given, key=lambda each: each[1].origin != number.origin):
        return found
    for value in reversed([*body.known()]):
        for axis, sizes in enumerate(zip(value.shape, value.other_shape, strict=False)):
            if sizes == wanted:
                return body.shape(value, axis)
    return None
