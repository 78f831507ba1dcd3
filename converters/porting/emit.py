"""The statements of a scope in JAX: each operation in the order of axes that its input has in memory."""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from converters.errors import ConversionError
from converters.porting.arrays import constant, declared
from converters.porting.expressions import DROP, expression, literal, reference
from converters.porting.graph import Operation, Scope, Value, leaves, values
from converters.porting.homes import Homes, homes, is_constant
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
        uses_random: If true, it draws random numbers in eval mode, too.
        constants: Arrays that the weights do not have, by name, for the buffers that hold them.
    """

    scope: Scope
    parameters: dict[str, Any]
    statements: list[Statement] = field(default_factory=list)
    result: ast.expr | None = None
    uses_train: bool = False
    uses_random: bool = False
    constants: dict[str, Any] = field(default_factory=dict)
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
    """Writes the operations of one scope.

    Args:
        scope: The scope.
        orders: Orders of the axes of the values that it is given.
        functions: How each function is written.
        layers: How each layer is written.
        parent: Writes the scope that calls this one; None for the whole module's.
    """

    def __init__(
        self,
        scope: Scope,
        orders: Mapping[Value, Order],
        functions: Mapping[str, Handler],
        layers: Mapping[type, Handler],
        parent: "Emitter | None" = None,
    ) -> None:
        self._functions, self._layers, self._parent = functions, layers, parent
        self._homes: Homes = parent._homes if parent else homes(scope, self._is_inline)
        self._orders: dict[Value, Order] = dict(orders)
        self._modules: dict[str, Value] = {}
        given = {name: each for name, each in scope.inputs.items() if _is_passed(each)}
        self.code = Code(scope=scope, parameters=given, constants=self._homes.constants)
        self._operation: Operation | None = None

    def run(self) -> Code:
        """Writes all of them."""
        scope = self.code.scope
        for operation in scope.operations:
            self._operation = operation
            self._emit(operation)
        if self._parent is None:
            self.code.result = self.tree(scope.output)
            self.code.orders = [self._orders[each] for each in values(scope.output)]
            for name, calls in self._homes.twins.items():
                _agree(name, calls)
            return self.code
        outputs = self._results(scope)
        made = [self.get(each) for each in outputs]
        self.code.result = made[0] if len(made) == 1 else literal(tuple(made))
        self.code.orders = [self._orders[each] for each in outputs]
        return self.code

    def _results(self, scope: Scope) -> list[Value]:
        """Returns what a module within the root gives to its caller: its arrays, in a row."""
        return [*values(scope.output), *self._homes.leaving.get(scope, ())]

    def _emit(self, operation: Operation) -> None:
        if operation.scope is not None:
            (self._inline if self._is_inline(operation.scope) else self._child)(operation)
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
        found = self._tied(operation) or handler(self, operation)
        results = found if isinstance(found, list) else [found]
        results = results[: len(outputs)]
        if self._is_shared(operation):
            results = [(self._shared(operation, whole), order) for whole, order in results]
        if len(results) == 1 and len(outputs) > 1:  # one expression that gives several arrays
            ((whole, orders),) = results
            self._assign(outputs, whole, orders)
            return
        for value, (whole, order) in zip(outputs, results, strict=True):
            self._assign([value], whole, [order])

    def _assign(self, targets: list[Value], whole: ast.expr, orders: Sequence[Order]) -> None:
        for value, order in zip(targets, orders, strict=True):
            self._orders[value] = order
        self.code.statements.append(
            Statement(
                targets=targets,
                expression=whole,
                statement=self._operation.statement if self._operation else -1,
            )
        )

    # Modules within this one.

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
        given = {value: (self.get(value), self.order(value))[1] for value in values(scope.inputs)}
        child = Emitter(scope, given, self._functions, self._layers, self).run()
        self.code.uses_train |= child.uses_train
        self.code.uses_random |= child.uses_random
        made = ast.Call(
            func=layer(child, operation.path, self.code.scope.path),
            args=[self.tree(each) for each in child.parameters.values()],
            keywords=[ast.keyword(arg="train", value=expression("train"))] if child.uses_train else [],
        )
        outputs = [*values(operation.output), *self._homes.leaving.get(scope, ())]
        whole = self._shared(operation, made) if self._is_shared(operation) else made
        self._assign(outputs, whole, child.orders)

    def _is_shared(self, operation: Operation) -> bool:
        return self._homes.names.get(operation.path, operation.path) in self._homes.layers

    def _shared(self, operation: Operation, call: ast.expr) -> ast.expr:
        """Returns a call of a module that other calls share, of one that makes it."""
        name = self._homes.names.get(operation.path, operation.path)
        for each in ast.walk(call):
            if isinstance(each, ast.Call) and _is_made(each.func):
                each.func = self._module(name, each.func)
                break
        return call

    def _module(self, name: str, made: ast.expr) -> ast.expr:
        """Returns the expression of a module that several calls share."""
        home = self._homes.layers[name]
        emitter: Emitter = self
        while emitter.code.scope.path != home:
            assert emitter._parent is not None
            emitter = emitter._parent
        if name not in emitter._modules:
            value = Value(shape=(), dtype="module", name=_identifier(name.rpartition(".")[2]))
            emitter._modules[name] = value
            _renamed(made, name, home)
            emitter._assign([value], made, [()])
        if hasattr(made, "child"):
            self._homes.twins.setdefault(name, []).append(made.child)
        return self.get(emitter._modules[name])

    def _tied(self, operation: Operation) -> Result | None:
        """Returns the call of a linear layer that has an embedding's weight."""
        owner = self._homes.names.get(operation.path, "")
        embedding = self._homes.modules.get(owner)
        if operation.kind is not torch.nn.Linear or not isinstance(embedding, torch.nn.Embedding):
            return None
        made = expression(
            "nn.Embed(num_embeddings, features, name=n)",
            num_embeddings=embedding.num_embeddings,
            features=embedding.embedding_dim,
            n=owner,
        )
        x, bias = input_of(operation), operation.module.bias
        order = last(self.order(x), x.ndim - 1)
        made = expression("embed.attend(x)", embed=self._module(owner, made), x=self.get(x, order))
        if bias is not None:
            added = Value(shape=tuple(bias.shape), dtype="float32", parameter=f"{operation.path}.bias")
            made = expression("y + b", y=made, b=self.get(added))
        return made, order

    # What handlers ask for.

    @property
    def where(self) -> str:
        """Returns the place in the torch code of the operation."""
        file, line = self._operation.place if self._operation else ("", 0)
        return f"{file}:{line}: " if file else ""

    def order(self, value: Value) -> Order:
        """Returns the order of a value's axes in memory."""
        if value not in self._orders:
            self._obtain(value)
        return self._orders[value]

    def axis(self, value: Value, axis: int) -> int:
        """Returns where an axis of PyTorch lies in memory, counted from the end if it is the last."""
        found = self.order(value).index(axis % value.ndim)
        return -1 if found == value.ndim - 1 else found

    def get(self, value: Value, order: Order | None = None) -> ast.expr:
        """Returns the expression of a value, with its axes in an order; by default as they lie."""
        if value not in self._orders:
            self._obtain(value)
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

    def _obtain(self, value: Value) -> None:
        """Writes or asks for what no operation of this scope gives."""
        if value.parameter:
            self._homes.arrays.setdefault(value.parameter, self.code.scope.path)
        if is_constant(value) and not self._is_around(value):
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
                f"{self.where}uses numbers that no operation of the module gives, and that differ with the sizes "
                "of the inputs."
            )
        self._orders[value] = self._parent.order(value)
        name = value.name or value.parameter.rpartition(".")[2] or "x"
        while name in self.code.parameters:
            name += "_"
        self.code.parameters[name] = value

    def _is_around(self, value: Value) -> bool:
        parent = self._parent
        return parent is not None and (value in parent._orders or parent._is_around(value))

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
        value.name = _identifier(name.rpartition(".")[2])
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
                return literal(type(tree)(self.tree(each) for each in tree))
            case dict():
                return ast.Dict(
                    keys=[literal(key) for key in tree], values=[self.tree(e) for e in tree.values()]
                )
        return literal(tree)

    def size(self, number: Any) -> ast.expr:
        """Returns a size: a number, or the expression of one that depends on the inputs."""
        return written(self, number)

    def given_sizes(self) -> Mapping[str, Any]:
        """Returns the arguments that are sizes of the inputs."""
        return {name: each for name, each in self.code.parameters.items() if isinstance(each, Varying)}


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


def name_of(e: Emitter, op: Operation) -> Any:
    """Returns the name of a layer, relative to the scope that calls it; none if the root does not hold it."""
    path = e.code.scope.path
    return op.path.removeprefix(f"{path}." if path else "") or DROP


def _agree(name: str, calls: Sequence[Code]) -> None:
    """Refuses a module that does other things in another call; its arrays can be in one class only."""
    if len({_shown(each) for each in calls}) > 1:
        raise ConversionError(
            f"{name} is called several times and does other things in another call, with the same arrays; port the "
            "modules inside it one by one, or give it the same kinds of arguments."
        )


def _shown(code: Code) -> str:
    """Returns a text that is equal for bodies that do the same."""
    seen: dict[Value, str] = {}
    shown = []
    for value in values(list(code.parameters.values())):
        seen.setdefault(value, f"value{len(seen)}")
    for each in code.statements:
        for target in each.targets:
            seen.setdefault(target, f"value{len(seen)}")
        for node in ast.walk(each.expression):
            if isinstance(node, ast.Name) and hasattr(node, "value"):
                node.id = seen.setdefault(node.value, f"value{len(seen)}")
            elif hasattr(node, "child"):
                shown.append(_shown(node.child))
        shown.append(ast.dump(each.expression))
    return "\n".join(shown)


def _is_passed(argument: Any) -> bool:
    """Returns whether a module takes an argument when it runs; others are known when it is written."""
    return any(isinstance(each, Value | Varying) for each in leaves(argument))


def _is_made(node: ast.expr) -> bool:
    """Returns whether an expression makes a module that has a name."""
    return isinstance(node, ast.Call) and (
        hasattr(node, "child") or any(each.arg == "name" for each in node.keywords)
    )


def _renamed(made: Any, path: str, home: str) -> None:
    """Changes the name of the module that an expression makes."""
    made.path, made.parent_path = path, home
    for each in made.keywords:
        if each.arg == "name":
            each.value = literal(path.removeprefix(f"{home}." if home else ""))


def _identifier(name: str) -> str:
    return name if name.isidentifier() else f"layer{name}" if name.isdecimal() else "layer"


def input_of(op: Operation) -> Value:
    """Returns the first argument."""
    found = op.arguments[0] if op.arguments else next(iter(op.keywords.values()))
    assert isinstance(found, Value)
    return found
