"""The arrays at hand in a module's body, and what is written to get one."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from converters.errors import ConversionError
from converters.porting.arrays import constant, declared, variable
from converters.porting.code import Code, Order, Statement, plain
from converters.porting.expressions import expression, literal, reference
from converters.porting.graph import Operation, Scope, Value, leaves
from converters.porting.homes import Homes, is_constant
from converters.porting.sizes import MeasuredError, written
from converters.porting.unify import Varying


class Body:
    """Knowledge of a scope while it is written.

    Args:
        scope: The scope.
        orders: Orders of the axes of the values that it is given.
        homes: Where things belong.
        parent: Body of the scope that calls this one; None for the whole module's.
    """

    def __init__(
        self, scope: Scope, orders: Mapping[Value, Order], homes: Homes, parent: "Body | None"
    ) -> None:
        self._parent, self._homes = parent, homes
        self._orders: dict[Value, Order] = dict(orders)
        given = {name: each for name, each in scope.inputs.items() if _is_passed(each)}
        self.code = Code(scope=scope, parameters=given, constants=homes.constants)
        self._operation: Operation | None = None
        self._when: bool | None = None  # the mode that is written, if it is only one
        self._modes: dict[Value, bool] = {}  # of the values that only one has

    @property
    def where(self) -> str:
        """Returns the place in the torch code of the operation."""
        file, line = self._operation.place if self._operation else ("", 0)
        return f"{file}:{line}: " if file else ""

    def order(self, value: Value) -> Order:
        """Returns the order of a value's axes in memory."""
        if value not in self._orders:
            self._obtain(value)
        if self._modes.get(value, self._when) != self._when:
            mode = "training" if self._modes[value] else "eval mode"
            raise ConversionError(f"{self.where}uses in both modes what is there only in {mode}.")
        return self._orders[value]

    def axis(self, value: Value, axis: int) -> int:
        """Returns where an axis of PyTorch lies in memory, counted from the end if it is the last."""
        found = self.order(value).index(axis % value.ndim)
        return -1 if found == value.ndim - 1 else found

    def get(self, value: Value, order: Order | None = None) -> ast.expr:
        """Returns the expression of a value, with its axes in an order; by default as they lie."""
        own, found = reference(value), self.order(value)
        if order is None or order == found:
            return own
        moves = tuple(self.order(value).index(axis) for axis in order)
        swapped = [i for i, j in enumerate(moves) if i != j]
        if len(swapped) == 2:
            return expression("x.swapaxes(a, b)", x=own, a=swapped[0], b=swapped[1])
        return expression("x.transpose(moves)", x=own, moves=moves)

    @contextmanager
    def mode(self, *, when: bool) -> Iterator[None]:
        """Writes what one mode alone does."""
        before, self._when = self._when, when
        try:
            yield
        finally:
            self._when = before

    def known(self) -> Mapping[Value, Order]:
        """Returns the values that are at hand, the newest last, with their orders of axes."""
        if not self._modes:
            return self._orders
        return {
            value: order
            for value, order in self._orders.items()
            if self._modes.get(value, self._when) == self._when
        }

    def update(self, buffer: Value, new: Value) -> None:
        """Writes that a buffer of the module is changed by its call, as running statistics are."""
        path = self.code.scope.path
        made = self.plain(new)
        if self.is_around(buffer) or self._homes.arrays.get(buffer.parameter) != path:
            raise ConversionError(f"{self.where}changes {buffer.parameter}, which another module reads, too.")
        name = buffer.parameter.removeprefix(f"{path}." if path else "")
        if buffer not in self._orders:  # it is not read, and yet has a place
            place = Statement(targets=[], expression=variable(buffer, name, read=False), statement=-1)
            self.code.statements.append(place)
        kept = expression('self.put_variable("batch_stats", name, x)', name=name, x=made)
        self.code.statements.append(Statement(targets=[], expression=kept, statement=-1, when=self._when))

    def measure(self, found: Sequence[Value]) -> None:
        """Asks for arrays of other modules whose sizes are needed; once."""
        needed = [(value, self._scopes()) for value in found]
        if any(each not in self._homes.measured for each in needed):
            raise MeasuredError(needed)

    def _scopes(self) -> tuple[Scope, ...]:
        return (self.code.scope, *(self._parent._scopes() if self._parent else ()))

    def shape(self, value: Value, axis: int) -> ast.expr:
        """Returns the size of one of PyTorch's axes, as read from the array."""
        return expression("x.shape[i]", x=self.get(value), i=self.order(value).index(axis % value.ndim))

    def plain(self, value: Value) -> ast.expr:
        """Returns the expression of a value with its axes as in PyTorch."""
        return self.get(value, plain(value.ndim))

    def _assign(
        self, targets: list[Value], whole: ast.expr, orders: Sequence[Order], *, when: bool | None = None
    ) -> None:
        for value, order in zip(targets, orders, strict=True):
            self._orders[value] = order
            if when is not None:
                self._modes[value] = when
        self.code.statements.append(
            Statement(
                targets=targets,
                expression=whole,
                statement=self._operation.statement if self._operation else -1,
                when=when,
                arrays=when is not None and has_arrays(whole, self._operation),
            )
        )

    def _obtain(self, value: Value) -> None:
        """Writes or asks for what no operation of this scope gives."""
        if value.parameter:
            self._homes.arrays.setdefault(value.parameter, self.code.scope.path)
        if is_constant(value) and not self.is_around(value):
            made = constant(value)
            if made is not None:
                self._assign([value], made, [plain(value.ndim)])
                return
            self._keep(value)
        if self._homes.arrays.get(value.parameter, "") == self.code.scope.path and value.parameter:
            self._take(value)
            return
        if self._parent is None:
            raise ConversionError(
                f"{self.where}uses numbers that no operation of the module gives, and that differ with the "
                "sizes of the inputs."
            )
        self._orders[value] = self._parent.order(value)
        name = value.name or value.parameter.rpartition(".")[2] or "x"
        while name in self.code.parameters:
            name += "_"
        self.code.parameters[name] = value

    def is_known(self, value: Value) -> bool:
        """Returns whether a value is at hand."""
        return value in self._orders and self._modes.get(value, self._when) == self._when

    def is_around(self, value: Value) -> bool:
        """Returns whether a body around this one has a value at hand."""
        parent = self._parent
        return parent is not None and (value in parent._orders or parent.is_around(value))

    def _keep(self, value: Value) -> None:
        """Makes a buffer of a constant that is too large to be written out."""
        path = self.code.scope.path
        if not value.parameter:
            value.parameter = f"{path}.constant{len(self._homes.constants)}".lstrip(".")
            self._homes.arrays[value.parameter] = path
        value.buffer = True
        self._homes.constants[value.parameter] = value.constant

    def _take(self, value: Value) -> None:
        """Writes the statement that declares an array of the module itself, or of one inside it."""
        path = self.code.scope.path
        name = value.parameter.removeprefix(f"{path}." if path else "")
        self._homes.hold(value.parameter.rpartition(".")[0], self.where, bare=True)
        value.name = identifier(name.rpartition(".")[2])
        self._assign([value], declared(value, name), [plain(value.ndim)])

    def sequence(self, tensors: Sequence[Value], order: Order) -> ast.expr:
        """Returns a list of values in one order; a parameter that is just that list by its name."""
        for name, given in self.code.parameters.items():
            if (
                isinstance(given, list | tuple)
                and len(given) == len(tensors) > 0
                and all(a is b and self.order(b) == order for a, b in zip(given, tensors, strict=True))
            ):
                return ast.Name(id=name, ctx=ast.Load())
        return literal([self.get(each, order) for each in tensors])

    def tree(self, tree: Any) -> ast.expr:
        """Returns a nesting of values, sizes and constants as an expression."""
        match tree:
            case Value():
                return self.get(tree)
            case Varying():
                return self.size(tree)
            case tuple() | list():
                items = [self.tree(each) for each in tree]
                return literal(tuple(items) if isinstance(tree, tuple) else items)
            case dict():
                return ast.Dict(
                    keys=[literal(key) for key in tree], values=[self.tree(e) for e in tree.values()]
                )
        return literal(tree)

    def size(self, number: Any) -> ast.expr:
        """Returns a size: a number, or the expression of one that depends on the inputs."""
        return written(self, number)

    def given_sizes(self) -> Iterator[tuple[ast.expr, Varying]]:
        """Yields the arguments that are sizes of the inputs, or parts of one."""
        for name, given in self.code.parameters.items():
            whole = ast.Name(id=name, ctx=ast.Load())
            if isinstance(given, Varying):
                yield whole, given
            for index, part in enumerate(given if isinstance(given, tuple | list) else ()):
                if isinstance(part, Varying):
                    yield expression("x[i]", x=whole, i=index), part


def has_arrays(whole: ast.expr, operation: Operation | None) -> bool:
    """Returns whether an expression calls a layer that has arrays."""
    if operation is not None and operation.module is not None:
        return bool(operation.module.state_dict())
    return any(is_made(node) for node in ast.walk(whole))


def is_made(node: ast.AST) -> bool:
    """Returns whether an expression makes a module that has a name."""
    return isinstance(node, ast.Call) and (
        hasattr(node, "child") or any(each.arg == "name" for each in node.keywords)
    )


def _is_passed(argument: Any) -> bool:
    """Returns whether a module takes an argument when it runs; others are known when it is written."""
    return any(isinstance(each, Value | Varying) for each in leaves(argument))


def identifier(name: str) -> str:
    """Returns a name for a variable that holds a module or an array of this name."""
    return name if name.isidentifier() else f"layer{name}" if name.isdecimal() else "layer"
