"""The statements of a scope in JAX: each operation in the order of axes that its input has in memory."""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from converters.errors import ConversionError
from converters.porting.expressions import expression, literal, reference
from converters.porting.graph import Operation, Scope, Value, values
from converters.porting.sizes import written
from converters.porting.unify import Varying

Order: TypeAlias = tuple[int, ...]  # for each axis in memory, the axis that it is in PyTorch
Result: TypeAlias = tuple[ast.expr, Order]
Handler: TypeAlias = Callable[["Emitter", Operation], Any]

FEW = 4  # operations of a module without arrays that are written where it is called


@dataclass(eq=False, kw_only=True)
class Statement:
    """An assignment.

    Attributes:
        targets: What is assigned to: a value, or several that the expression gives.
        expression: The right side.
        statement: Number of the torch statement that it comes from.
    """

    targets: list[Value]
    expression: ast.expr
    statement: int


@dataclass(eq=False, kw_only=True)
class Code:
    """A module's body, before its class is decided.

    Attributes:
        scope: The call that it comes from.
        parameters: Names of the arguments, with what they stand for.
        statements: In order.
        result: What it returns.
        uses_train: If true, it does other things in training.
    """

    scope: Scope
    parameters: dict[str, Any]
    statements: list[Statement] = field(default_factory=list)
    result: ast.expr | None = None
    uses_train: bool = False
    orders: list[Order] = field(default_factory=list)
    names: dict[Value, str] = field(default_factory=dict)
    body: list[ast.stmt] = field(default_factory=list)


def plain(ndim: int) -> Order:
    """Returns PyTorch's own order of axes."""
    return tuple(range(ndim))


def channels_last(ndim: int) -> Order:
    """Returns the order of images in Flax: the axis 1 comes last."""
    return (0, *range(2, ndim), 1)


class Emitter:
    """Writes the operations of one scope."""

    def __init__(
        self,
        scope: Scope,
        orders: Mapping[Value, Order],
        functions: Mapping[str, Handler],
        layers: Mapping[type, Handler],
    ) -> None:
        self._functions, self._layers = functions, layers
        self._orders: dict[Value, Order] = dict(orders)
        self.code = Code(scope=scope, parameters=dict(scope.inputs))
        self._operation: Operation | None = None

    def run(self) -> Code:
        """Writes all of them."""
        for operation in self.code.scope.operations:
            self._operation = operation
            self._emit(operation)
        output = self.code.scope.output
        self.code.result = self.tree(output) if not self.code.scope.path else self._flat([*values(output)])
        self.code.orders = [self._orders[each] for each in values(output)]
        return self.code

    def _flat(self, outputs: list[Value]) -> ast.expr:
        """Returns what a module within the root gives to its caller: its arrays, in a row."""
        return self.get(outputs[0]) if len(outputs) == 1 else literal(tuple(map(self.get, outputs)))

    def _emit(self, operation: Operation) -> None:
        if operation.scope is not None:
            (self._inline if self._is_inline(operation.scope) else self._child)(operation)
            return
        handler = (
            self._layers.get(operation.kind)
            if operation.kind is not None
            else self._functions.get(operation.function)
        )
        if handler is None:
            raise ConversionError(f"{self.where}{operation.function!r} is not known")
        found = handler(self, operation)
        results = found if isinstance(found, list) else [found]
        outputs = [*values(operation.output)]
        results = results[: len(outputs)]
        if len(results) == 1 and len(outputs) > 1:  # one expression that gives several arrays
            ((whole, orders),) = results
            self._assign(outputs, whole, orders)
            return
        for value, (whole, order) in zip(outputs, results, strict=True):
            self._assign([value], whole, [order])

    def _assign(self, targets: list[Value], whole: ast.expr, orders: Sequence[Order]) -> None:
        assert self._operation is not None
        for value, order in zip(targets, orders, strict=True):
            self._orders[value] = order
        self.code.statements.append(
            Statement(targets=targets, expression=whole, statement=self._operation.statement)
        )

    def _is_inline(self, scope: Scope) -> bool:
        """Returns whether a module is written where it is called: a layer's subclass, or a mere function."""
        if isinstance(scope.module, tuple(self._layers)):
            return True
        own = (*scope.module.parameters(), *scope.module.buffers())
        return not own and len(scope.operations) <= FEW and not any(each.scope for each in scope.operations)

    def _inline(self, operation: Operation) -> None:
        scope = operation.scope
        assert scope is not None
        for each in scope.operations:
            self._operation = each
            self._emit(each)
        self._operation = operation
        for outer, inner in zip(values(operation.output), values(scope.output), strict=True):
            self._assign([outer], self.get(inner), [self.order(inner)])

    def _child(self, operation: Operation) -> None:
        scope = operation.scope
        assert scope is not None
        given = {value: self._orders[value] for value in values(scope.inputs)}
        child = Emitter(scope, given, self._functions, self._layers).run()
        self.code.uses_train |= child.uses_train
        made = ast.Call(
            func=layer(child, operation.path, self.code.scope.path),
            args=[self.tree(each) for each in scope.inputs.values()],
            keywords=[ast.keyword(arg="train", value=expression("train"))] if child.uses_train else [],
        )
        self._assign([*values(operation.output)], made, child.orders)

    # What handlers ask for.

    @property
    def where(self) -> str:
        """Returns the place in the torch code of the operation."""
        file, line = self._operation.place if self._operation else ("", 0)
        return f"{file}:{line}: " if file else ""

    def order(self, value: Value) -> Order:
        """Returns the order of a value's axes in memory."""
        return self._orders.get(value, plain(value.ndim))

    def axis(self, value: Value, axis: int) -> int:
        """Returns where an axis of PyTorch lies in memory, counted from the end if it is the last."""
        found = self.order(value).index(axis % value.ndim)
        return -1 if found == value.ndim - 1 else found

    def get(self, value: Value, order: Order | None = None) -> ast.expr:
        """Returns the expression of a value, with its axes in an order; by default as they lie."""
        if value.parameter and value not in self._orders:
            self._take(value)
        own = reference(value)
        if order is None or order == self.order(value):
            return own
        moves = tuple(self.order(value).index(axis) for axis in order)
        swapped = [i for i, j in enumerate(moves) if i != j]
        if len(swapped) == 2:
            return expression("x.swapaxes(a, b)", x=own, a=swapped[0], b=swapped[1])
        return expression("x.transpose(moves)", x=own, moves=moves)

    def known(self) -> Mapping[Value, Order]:
        """Returns the values that are at hand, the newest last, with their orders of axes."""
        return self._orders

    def shape(self, value: Value, axis: int) -> ast.expr:
        """Returns the size of one of PyTorch's axes, as read from the array."""
        return expression("x.shape[i]", x=self.get(value), i=self.order(value).index(axis % value.ndim))

    def plain(self, value: Value) -> ast.expr:
        """Returns the expression of a value with its axes as in PyTorch."""
        return self.get(value, plain(value.ndim))

    def _take(self, value: Value) -> None:
        """Writes the statement that declares a parameter of the module itself, or of one inside it."""
        path = self.code.scope.path
        name = value.parameter.removeprefix(f"{path}." if path else "")
        value.name = name.rpartition(".")[2]
        made = expression(
            "self.param(name, nn.initializers.normal(0.02), shape)", name=name, shape=tuple(value.shape)
        )
        self._assign([value], made, [plain(value.ndim)])

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
                return literal(type(tree)(self.tree(each) for each in tree))
            case dict():
                return ast.Dict(
                    keys=[literal(key) for key in tree], values=[self.tree(e) for e in tree.values()]
                )
        return literal(tree)

    def size(self, number: Any) -> ast.expr:
        """Returns a size: a number, or the expression of one that depends on the inputs."""
        return written(self, number)


def layer(child: "Code", path: str, parent: str) -> ast.expr:
    """Returns the expression that makes the module of a child; its class is decided later."""
    made = ast.Call(func=ast.Name(id="?", ctx=ast.Load()), args=[], keywords=[])
    made.child, made.path, made.parent_path = child, path, parent  # type: ignore[attr-defined]
    return made


def last(order: Order, axis: int) -> Order:
    """Returns an order with one of PyTorch's axes moved to the end."""
    return (*(each for each in order if each != axis), axis)


def size_of(x: Value, axis: int) -> int:
    """Returns the size of one of PyTorch's axes, which varies if it did between the two runs."""
    one, two = x.shape[axis], x.other_shape[axis]
    return one if one == two else Varying(one, two, ("axis", x, axis))


def name_of(e: Emitter, op: Operation) -> str:
    """Returns the name of a layer, relative to the scope that calls it."""
    path = e.code.scope.path
    return op.path.removeprefix(f"{path}." if path else "")


def input_of(op: Operation) -> Value:
    """Returns the first argument."""
    found = op.arguments[0] if op.arguments else next(iter(op.keywords.values()))
    assert isinstance(found, Value)
    return found
