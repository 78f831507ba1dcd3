"""Sizes that depend on the inputs' as expressions of the shapes that are at hand."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from converters.errors import ConversionError
from converters.porting.expressions import expression, literal
from converters.porting.graph import Scope, Value
from converters.porting.unify import Varying


class MeasuredError(ConversionError):
    """A size of an array that is not at hand, and can be if the module that makes it hands it on.

    Args:
        needed: Such arrays, each with the scope that needs it and those around it.
    """

    def __init__(self, needed: Sequence[tuple[Value, tuple[Scope, ...]]]) -> None:
        super().__init__("needs the size of an array of another module")
        self.needed = needed


class Known(Protocol):
    """The values that a body has so far."""

    @property
    def where(self) -> str:
        """Returns the place in the torch code, for messages."""

    def known(self) -> Iterable[Value]:
        """Returns them, the newest last."""

    def is_known(self, value: Value) -> bool:
        """Returns whether a value is at hand."""

    def is_around(self, value: Value) -> bool:
        """Returns whether a body around this one has a value at hand."""

    def measure(self, found: Sequence[Value]) -> None:
        """Asks for arrays of other modules whose sizes are needed; once."""

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
    found = _by_origin(body, number)
    if found is None:
        body.measure([value for value in _origins(number) if not body.is_known(value)])
        found = _by_search(body, number)
    if found is None:
        raise ConversionError(
            f"{body.where}{int(number)} depends on the sizes of the inputs ({number.other} at other ones), "
            "in a way that cannot be followed."
        )
    return found


def _origins(number: Any) -> Iterator[Value]:
    """Yields the values whose sizes a size is made of."""
    match number:
        case Varying(origin=("axis", Value() as value, _)):
            yield value
        case Varying(origin=(_, left, right)):
            yield from _origins(left)
            yield from _origins(right)


def _by_origin(body: Known, number: Any) -> ast.expr | None:
    """Returns a size as it came about; None if an array that it is of is not at hand."""
    if not isinstance(number, Varying):
        return literal(int(number))
    for found, size in body.given_sizes():
        if (int(size), size.other, size.origin) == (int(number), number.other, number.origin):
            return found
    match number.origin:
        case ("axis", Value() as value, axis):
            like = value if body.is_known(value) else _alike(body, value)
            return body.shape(like, axis) if like is not None else None
        case ("+" | "-" | "*" | "//" | "%" as symbol, left, right):
            parts = _by_origin(body, left), _by_origin(body, right)
            if symbol == "-" and left == 0 and parts[1] is not None:
                return expression("-b", b=parts[1])
            if parts[0] is not None and parts[1] is not None:
                return expression(f"a {symbol} b", a=parts[0], b=parts[1])
    return None


def _alike(body: Known, value: Value) -> Value | None:
    """Returns an array at hand that has all of another's sizes, in both runs, or that one from outside."""
    sizes = (value.shape, value.other_shape)
    for each in reversed([*body.known()]):
        if value.ndim > 1 and (each.shape, each.other_shape) == sizes:
            return each
    return value if body.is_around(value) else None


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
