"""The statements of a scope in JAX: each operation in the order of axes that its input has in memory."""

import ast
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from converters.errors import ConversionError
from converters.porting.body import is_made
from converters.porting.code import Code, Order, Result, Statement, agree, channels_last, last, plain
from converters.porting.dialects import LINEN, Dialect
from converters.porting.expressions import DROP, expression, literal, marked
from converters.porting.graph import Operation, Scope, Value, input_of, mapped, values
from converters.porting.homes import Measured, homes, is_constant
from converters.porting.informed import informed
from converters.porting.methods import Method
from converters.porting.sharing import Sharing
from converters.porting.sizes import MeasuredError
from converters.porting.stubs import stub
from converters.porting.unify import Varying
from converters.porting.widths import Widths

Handler: TypeAlias = Callable[["Emitter", Operation], Any]

__all__ = [
    "Code",
    "Emitter",
    "Handler",
    "Order",
    "Result",
    "Statement",
    "channels_last",
    "input_of",
    "last",
    "layer",
    "name_of",
    "plain",
    "size_of",
]

FEW = 4  # operations of a module without arrays that are written where it is called


class Emitter(Sharing):
    """Writes the operations of one scope.

    Args:
        scope: The scope.
        orders: Orders of the axes of the values that it is given.
        functions: Handlers that write the functions, by name.
        layers: Handlers that write the layers, by class.
        parent: Writes the scope that calls this one; None for the whole module's.
        partial: If true, modules that cannot be written are left out, all but the root.
        measured: Values whose sizes are needed where they are not at hand, as in `Homes`.
        dialect: Flax's way of writing modules, linen or NNX.
    """

    def __init__(
        self,
        scope: Scope,
        orders: Mapping[Value, Order],
        functions: Mapping[str, Handler],
        layers: Mapping[type, Handler],
        parent: "Emitter | None" = None,
        *,
        partial: bool = False,
        measured: Measured = (),
        dialect: Dialect = LINEN,
    ) -> None:
        self._partial: bool = parent._partial if parent else partial
        self.dialect: Dialect = parent.dialect if parent else dialect
        self._functions, self._layers = functions, layers
        found = parent._homes if parent else homes(scope, self._is_inline, measured)
        super().__init__(scope, orders, found, parent)
        self.widths: Widths = parent.widths if parent else Widths()
        self._calls: dict[str, int] = {}

    def run(self) -> Code:
        """Writes all of them."""
        scope = self.code.scope
        for operation in scope.operations:
            self._operation, self._when = operation, operation.when
            self._emit(operation)
        self._when = None
        if self._parent is None:
            if not self.code.result:
                self._return(scope.output, scope.trained_output)
            for name, calls in self._homes.twins.items():
                agree(name, calls)
            return self.code
        if isinstance(scope.module, Method):
            self._return(scope.output, scope.trained_output)
            return self.code
        outputs = self._results(scope)
        made = [self.get(each) for each in outputs]
        self.code.result = made[0] if len(made) == 1 else literal(tuple(made))
        self.code.orders = [self._orders[each] for each in outputs]
        return self.code

    def _return(self, output: Any, trained: Any) -> None:
        """Writes what the whole module returns, and what it does in training if that is another nesting."""
        self.code.result = self._returned(output, when=None if trained is None else False)
        if trained is not None:
            self.code.uses_train = True
            made = self._returned(trained, when=True)
            self.code.result = expression("a if train else b", a=made, b=self.code.result)

    def _returned(self, output: Any, *, when: bool | None) -> ast.expr:
        """Returns what the whole module returns: images with their channels last, all else as in PyTorch."""
        self._when = when
        usual = {
            each: self.order(each)
            if each.ndim >= 4 and self.order(each) == channels_last(each.ndim)
            else plain(each.ndim)
            for each in values(output)
        }
        self.code.orders += [usual[each] for each in values(output)]
        return self.tree(
            mapped(output, lambda each: self.get(each, usual[each]) if isinstance(each, Value) else each)
        )

    def _results(self, scope: Scope) -> list[Value]:
        """Returns what a module within the root gives to its caller: its arrays, in a row."""
        return [*values(scope.output), *self._homes.leaving.get(scope, ())]

    def _emit(self, operation: Operation) -> None:
        self.code.uses_train |= self._when is not None
        if operation.scope is not None:
            self._emit_scope(operation, operation.scope)
            return
        handler = (
            self._layers.get(operation.kind)
            if operation.kind is not None
            else self._functions.get(operation.function)
        )
        outputs = [*values(operation.output)]
        if handler is None and all(is_constant(each) for each in outputs):
            return  # written where it is used
        if handler is None:
            raise ConversionError(f"{self.where}{operation.function!r} is not known")
        self.widths.hand_on(operation)
        found = self._tied(operation) or handler(self, operation)
        results: list[Any] = found if isinstance(found, list) else [found]
        results = results[: len(outputs)]
        for whole, order in results:
            informed(self, operation, whole, order)
            if any(map(is_made, ast.walk(whole))) and self._path(operation):
                self._homes.hold(self._path(operation), self.where, bare=False)
        if self._is_shared(operation):
            results = [(self._shared(operation, whole), order) for whole, order in results]
        if len(results) == 1 and len(outputs) > 1:  # one expression that gives several arrays
            ((whole, orders),) = results
            self._assign(outputs, whole, orders, when=self._when)
            return
        for value, (whole, order) in zip(outputs, results, strict=True):
            self._assign([value], whole, [order], when=self._when)

    # Modules within this one.

    def _emit_scope(self, operation: Operation, scope: Scope) -> None:
        if not scope.missing and self._is_inline(scope):
            try:
                self._inline(operation)
                return
            except ConversionError as error:
                if not self._partial or isinstance(error, MeasuredError):
                    raise
                self._operation, scope.missing = operation, str(error)
        self._child(operation)

    def _is_inline(self, scope: Scope) -> bool:
        """Returns whether a module is written where it is called: a layer's subclass, or a mere function."""
        if isinstance(scope.module, Method):
            return False
        if isinstance(scope.module, tuple(self._layers)):
            return True
        own = (*scope.module.parameters(), *scope.module.buffers())
        return not own and len(scope.operations) <= FEW and not any(each.scope for each in scope.operations)

    def _inline(self, operation: Operation) -> None:
        scope, around = operation.scope, self._when
        assert scope is not None
        for each in scope.operations:
            self._operation = each
            self._when = each.when if around is None else around
            self._emit(each)
        self._operation, self._when = operation, around
        self.widths.give_back(operation, scope)
        for outer, inner in zip(values(operation.output), values(scope.output), strict=True):
            self._assign([outer], self.get(inner), [self.order(inner)], when=around)

    def _child(self, operation: Operation) -> None:
        scope = operation.scope
        assert scope is not None
        given = {value: (self.get(value), self.order(value))[1] for value in values(scope.inputs)}
        child = self._of_child(scope, given)
        self.code.uses_train |= child.uses_train
        self.code.uses_random |= child.uses_random
        made = ast.Call(
            func=layer(child, self._name(operation), self.code.scope.path),
            args=[self.tree(each) for each in child.parameters.values()],
            keywords=[ast.keyword(arg="train", value=expression("train"))] if child.uses_train else [],
        )
        if isinstance(scope.module, Method):
            before = self.code.result.elts if isinstance(self.code.result, ast.Tuple) else []
            self.code.result = ast.Tuple(elts=[*before, made], ctx=ast.Load())
            self.code.orders += child.orders
            return
        outputs = [*values(operation.output), *self._homes.leaving.get(scope, ())]
        whole = self._shared(operation, made) if self._is_shared(operation) else made
        self._assign(outputs, whole, child.orders, when=self._when)
        self.widths.give_back(operation, scope)

    def _name(self, operation: Operation) -> str:
        """Returns the path of a module; one without weights is another module in another call."""
        path = operation.path
        if self._is_shared(operation):
            return path
        number = self._calls[path] = self._calls.get(path, 0) + 1
        return path if number == 1 else f"{path}_{number}"

    def _of_child(self, scope: Scope, given: Mapping[Value, Order]) -> Code:
        reason = scope.missing
        if not reason:
            try:
                return Emitter(scope, given, self._functions, self._layers, self).run()
            except ConversionError as error:
                if not self._partial or isinstance(error, MeasuredError):
                    raise
                reason = str(error)
        return stub(scope, given, self._results(scope), reason)

    def is_a(self, path: str, kind: type | tuple[type, ...]) -> bool:
        """Returns whether the module of a name is of a class."""
        return isinstance(self._homes.modules[path], kind)


def layer(child: "Code", path: str, parent: str) -> ast.expr:
    """Returns the expression that makes the module of a child; its class is decided later."""
    made = ast.Call(func=ast.Name(id="?", ctx=ast.Load()), args=[], keywords=[])
    return marked(made, child=child, path=path, parent_path=parent)


def size_of(x: Value, axis: int) -> int:
    """Returns the size of one of PyTorch's axes, which varies if it did between the two runs."""
    one, two = x.shape[axis], x.other_shape[axis]
    return one if one == two else Varying(one, two, ("axis", x, axis))


def name_of(e: Emitter, op: Operation) -> Any:
    """Returns the name of a layer, relative to the scope that calls it; none if the root does not hold it."""
    path = e.code.scope.path
    return op.path.removeprefix(f"{path}." if path else "") or DROP
