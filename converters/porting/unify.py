"""Two runs at different sizes as one: what differs is a size, what does not is a constant."""

from collections.abc import Mapping
from typing import Any

import torch

from converters.errors import ConversionError
from converters.porting.graph import Operation, Scope, Size, Value


class Varying(int):
    """A size that depends on the inputs' sizes.

    Attributes:
        other: Its value in the second run.
        origin: As of a `Size`, of sizes and integers; () if nothing is known.
    """

    other: int
    origin: tuple[Any, ...]

    def __new__(cls, first: int, second: int, origin: tuple[Any, ...]) -> "Varying":
        made = super().__new__(cls, first)
        made.other, made.origin = second, origin
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> "Varying":
        return self


def unified(first: Scope, second: Scope, *, partial: bool = False) -> Scope:
    """Returns the first run, with the second's shapes beside its own and with `Varying` sizes.

    Args:
        first: A run.
        second: Another one, at other sizes.
        partial: If true, modules that cannot be unified are marked as missing, all but the root.

    Raises:
        ConversionError: the runs do different things, or a number differs that is no size.
    """
    _Pair(partial=partial).scope(first, second)
    return first


class _Pair:
    def __init__(self, *, partial: bool) -> None:
        self._partial = partial
        self._others: dict[Value, Value] = {}

    def scope(self, first: Scope, second: Scope) -> None:
        where = f"{type(first.module).__name__} {first.path!r}" if first.path else "the module"
        first.inputs = self.tree(first.inputs, second.inputs, where)
        if first.missing or second.missing:
            first.missing = first.missing or second.missing
            first.output = self.tree(first.output, second.output, where)
            return
        if len(first.operations) != len(second.operations):
            raise ConversionError(f"{where} does other things for another size of its inputs.")
        for one, two in zip(first.operations, second.operations, strict=True):
            if one.function != two.function or one.path != two.path:
                raise ConversionError(f"{_at(one)} {where} does other things for another size of its inputs.")
            self.operation(one, two)
        first.output = self.tree(first.output, second.output, where)

    def operation(self, one: Operation, two: Operation) -> None:
        where = f"{_at(one)} {one.function}"
        one.arguments = self.tree(one.arguments, two.arguments, where)
        one.keywords = self.tree(one.keywords, two.keywords, where)
        if one.scope is not None and two.scope is not None:
            try:
                self.scope(one.scope, two.scope)
            except ConversionError as error:
                if not self._partial:
                    raise
                one.scope.missing = str(error)
                one.scope.output = self.tree(one.scope.output, two.scope.output, where)
        one.output = self.tree(one.output, two.output, where)

    def tree(self, one: Any, two: Any, where: str) -> Any:
        """Returns the first nesting, with `Varying` where integers differ."""
        match one:
            case Value() if isinstance(two, Value) and one.ndim == two.ndim:
                return self.value(one, two, where)
            case torch.Tensor() if isinstance(two, torch.Tensor):
                if one.shape != two.shape or not torch.equal(one, two):
                    raise ConversionError(
                        f"{where}: numbers that nobody has seen made differ with the sizes."
                    )
                return one
            case Mapping() if isinstance(two, Mapping) and list(one) == list(two):
                return {key: self.tree(one[key], two[key], where) for key in one}
            case tuple() | list() if isinstance(two, tuple | list) and len(one) == len(two):
                parts = [self.tree(a, b, where) for a, b in zip(one, two, strict=True)]
                return type(one)(*parts) if hasattr(one, "_fields") else type(one)(parts)
            case slice() if isinstance(two, slice):
                return slice(
                    *(self.tree(getattr(one, n), getattr(two, n), where) for n in ("start", "stop", "step"))
                )
            case bool() | None | str():
                if one == two:
                    return one
            case int() if isinstance(two, int):
                return int(one) if one == two else self.varying(one, two, where)
            case _:
                if one is two or (type(one) is type(two) and (not isinstance(one, float) or one == two)):
                    return one
        raise ConversionError(f"{where}: {one!r} at one size of the inputs and {two!r} at another.")

    def value(self, one: Value, two: Value, where: str) -> Value:
        if self._others.setdefault(one, two) is not two or one.parameter != two.parameter:
            raise ConversionError(f"{where} is given other things for another size of the inputs.")
        one.other_shape, one.other_constant = two.shape, two.constant
        return one

    def varying(self, one: int, two: int, where: str) -> Varying:
        origin = one.origin if isinstance(one, Size) else ()
        if not origin or origin[0] == "axis" or not isinstance(two, Size):
            return Varying(one, two, origin)
        symbol, left, right = origin
        _, other_left, other_right = two.origin if two.origin[0] == symbol else (symbol, left, right)
        parts = (
            int(a) if a == b else self.varying(a, b, where)
            for a, b in ((left, other_left), (right, other_right))
        )
        return Varying(one, two, (symbol, *parts))


def _at(operation: Operation) -> str:
    file, line = operation.place
    return f"{file}:{line}:" if file else ""
