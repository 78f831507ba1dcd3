"""Two runs as one: operations that only training does beside those that only eval mode does.

Where both modes go on with something else, an operation chooses it: `chosen` of what training has, and of
what eval mode has.
"""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from converters.errors import ConversionError
from converters.porting.dispatch import DROPOUTS, STATEFUL, UPDATED
from converters.porting.graph import Operation, Scope, Value, leaves, mapped, values
from converters.porting.unify import Varying

CHOSEN = "chosen"
# Functions whose handlers know what training changes in their numbers.
KNOWN = {*DROPOUTS, "batch_norm", "scaled_dot_product_attention"}
LATER = 1_000_000  # added to the numbers of statements of the run in training, which are others


def woven(run: Scope, trained: Scope) -> Scope:
    """Returns the run in eval mode, with what training does in its stead or more.

    Raises:
        ConversionError: the modes differ in a way that cannot be written.
    """
    for each in (run, trained):
        _forget_unread(each)
    _Weaver(run).scope(run, trained)
    _check_leaving(run)
    return run


class _Weaver:
    """The values of both runs.

    Args:
        run: The one in eval mode.
    """

    def __init__(self, run: Scope) -> None:
        self._root = run.module
        self._ours: dict[Value, Value] = {}  # the value of eval mode that one of training is
        self._arrays = {each.parameter: each for each in all_values(run) if each.parameter}
        self._chosen: list[dict[tuple[Value, Value], Value]] = [{}]  # by scope, the innermost last

    def scope(self, one: Scope, two: Scope) -> None:
        """Weaves the run of a module in training into the one in eval mode."""
        if one.missing or two.missing:
            raise ConversionError(one.missing or two.missing)
        if one.path == "":
            self._ours |= dict(zip(values(two.inputs), values(one.inputs), strict=True))
        operations: list[Operation] = []
        for ours, theirs in _segments(one.operations, two.operations):
            if ours and theirs and _key(ours[0]) == _key(theirs[0]):
                for a, b in zip(ours, theirs, strict=True):
                    self._both(a, b, operations)
                continue
            while ours and theirs and self._equal(ours[0], theirs[0]):
                self._both(ours.pop(0), theirs.pop(0), operations)
            for each in theirs:
                operations.append(self._alone(each))
                each.when = True
            for each in ours:
                operations.append(each)
                each.when = False
        one.operations = operations
        self._output(one, two)

    def _output(self, one: Scope, two: Scope) -> None:
        """Lets both modes return the same, or notes what training returns in its stead."""
        pairs = _pairs(one.output, two.output)
        if pairs is not None:
            one.output = _in_places(one.output, [self._choice(*pair, one.operations) for pair in pairs])
        elif one.path:
            raise ConversionError(f"{_name(one)} returns something else in training")
        else:
            one.trained_output = mapped(two.output, self._mine)

    def _both(self, one: Operation, two: Operation, operations: list[Operation]) -> None:
        """Notes an operation of both modes, after the choices of what it takes."""
        self._check_statistics(one, two)
        one.arguments, one.keywords = self._taken_in_both(_taken(one), _taken(two), operations)
        one.trained = two
        if one.scope is not None and two.scope is not None:
            one.scope.inputs = self._taken_in_both(one.scope.inputs, two.scope.inputs, operations)
            self._chosen.append({})
            self.scope(one.scope, two.scope)
            self._chosen.pop()
        operations.append(one)
        self._ours |= dict(zip(values(two.output), values(one.output), strict=True))

    def _check_statistics(self, one: Operation, two: Operation) -> None:
        """Refuses a function that keeps statistics in training, unless these are a layer's, which does so."""
        numbers = [[str(each) for each in leaves(_taken(op)) if not _is(each)] for op in (one, two)]
        if one.function not in STATEFUL or one.module is not None or numbers[0] == numbers[1]:
            return
        names = {each.parameter.rpartition(".")[0] for each in values(_taken(one)) if each.parameter}
        layers = [self._root.get_submodule(name) for name in names]
        if not all(isinstance(each, _BatchNorm) for each in layers) or not layers:
            file, line = one.place
            raise ConversionError(f"{file}:{line}: {one.function} changes statistics that are no layer's")

    def _taken_in_both(self, one: Any, two: Any, operations: list[Operation]) -> Any:
        """Returns a nesting of values with choices where training has others in their places."""
        pairs = _pairs(one, two)
        if pairs is None:
            raise ConversionError("a module is called with something else in training")
        return _in_places(one, [self._choice(*pair, operations) for pair in pairs])

    def _choice(self, one: Value, two: Value, operations: list[Operation]) -> Value:
        """Returns the value that is one in eval mode and the other in training."""
        mine = self._mine(two)
        if mine is one or _are_equal(one, mine):
            return one
        for known in self._chosen:
            if (one, mine) in known:
                return known[one, mine]
        made = Value(shape=one.shape, dtype=one.dtype, other_shape=one.other_shape, name=one.name or two.name)
        place = operations[-1] if operations else None
        operations.append(
            Operation(
                function=CHOSEN,
                arguments=[mine, one],
                keywords={},
                output=made,
                place=place.place if place else ("", 0),
                statement=-1,
            )
        )
        self._chosen[-1][one, mine] = made
        return made

    def _alone(self, operation: Operation) -> Operation:
        """Returns an operation that only training does, with the values that eval mode has, too."""
        operation.arguments = mapped(operation.arguments, self._mine)
        operation.keywords = mapped(operation.keywords, self._mine)
        if operation.function == UPDATED:
            operation.arguments[0].changes = True
        operation.trained = operation
        operation.statement += LATER
        if (scope := operation.scope) is not None:
            scope.inputs = mapped(scope.inputs, self._mine)
            scope.operations = [self._alone(each) for each in scope.operations]
            scope.output = mapped(scope.output, self._mine)
        return operation

    def _mine(self, each: Any) -> Any:
        """Returns what stands for a value or size of the run in training."""
        if isinstance(each, Varying):
            return Varying(int(each), each.other, self._origin(each.origin))
        if not _is(each):
            return each
        found = self._ours.get(each)
        if found is None:
            found = self._arrays.setdefault(each.parameter, each) if each.parameter else each
        return found

    def _origin(self, origin: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._origin(e) if isinstance(e, tuple) else self._mine(e) for e in origin)

    def _equal(self, one: Operation, two: Operation) -> bool:
        """Returns whether operations at other places of the torch code do the same with the same values."""
        pairs = _pairs(_taken(one), _taken(two))
        same = one.scope is two.scope is None and pairs is not None and _key(one)[:-1] == _key(two)[:-1]
        return same and all(self._mine(b) is a or _are_equal(a, b) for a, b in pairs or ())


def _segments(
    one: Sequence[Operation], two: Sequence[Operation]
) -> Iterator[tuple[list[Operation], list[Operation]]]:
    """Yields what both runs do, and between these what one of them does, in order."""
    keys = [[_key(each) for each in run] for run in (one, two)]
    if keys[0] == keys[1]:
        yield [*one], [*two]
        return
    matcher = SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    for _, start, end, first, last in matcher.get_opcodes():
        yield [*one[start:end]], [*two[first:last]]


def _key(operation: Operation) -> tuple[Any, ...]:
    """Returns what operations have in common that both modes do; the place comes last."""
    taken = _taken(operation)
    told = operation.function in KNOWN or operation.scope is not None
    numbers = () if told else tuple(str(each) for each in leaves(taken) if not _is(each))
    shapes = tuple((each.shape, each.dtype) for each in values(taken))
    made = () if operation.scope is not None else tuple(each.shape for each in values(operation.output))
    place = operation.path if operation.module is not None else operation.place
    return operation.function, operation.path, numbers, shapes, made, place


def _taken(operation: Operation) -> list[Any]:
    return [[*operation.arguments], dict(operation.keywords)]


def _pairs(one: Any, two: Any) -> list[tuple[Value, Value]] | None:
    """Returns the values in the same places of two nestings; None if these are different."""
    ours, theirs = [*leaves(one)], [*leaves(two)]
    alike = _skeleton(one) == _skeleton(two)
    if not alike:
        return None
    return [(a, b) for a, b in zip(ours, theirs, strict=True) if _is(a)]


def _in_places(tree: Any, found: Sequence[Value]) -> Any:
    """Returns a nesting with other values, in order."""
    rest = iter(found)
    return mapped(tree, lambda each: next(rest) if _is(each) else each)


def _skeleton(tree: Any) -> Any:
    """Returns a nesting with the shapes of values in their places."""
    match tree:
        case tuple() | list():
            return [_skeleton(each) for each in tree]
        case dict():
            return {key: _skeleton(each) for key, each in tree.items()}
        case Value():
            return tree.shape, tree.other_shape, tree.dtype
    return None


def _is(each: Any) -> bool:
    return isinstance(each, Value)


def _are_equal(one: Value, two: Value) -> bool:
    """Returns whether two values are the same constant."""
    a, b = one.constant, two.constant
    if a is None or b is None or one.parameter or two.parameter:
        return False
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.equal(b))


def all_values(scope: Scope) -> Iterator[Value]:
    """Yields all values of a run."""
    yield from values((scope.inputs, scope.output))
    for each in scope.operations:
        yield from values((_taken(each), each.output))
        if each.scope is not None:
            yield from all_values(each.scope)


def _forget_unread(run: Scope) -> None:
    """Drops what follows from a change in place of another view, where nobody reads that.

    It follows in training alone if it is a dropout that changes the view.
    """
    _forget(run, {*values(run.output)})


def _forget(scope: Scope, read: set[Value]) -> None:
    read |= {*values(scope.output)}
    kept = []
    for each in reversed(scope.operations):
        if each.follows and not any(value in read for value in values(each.output)):
            continue
        if each.scope is not None:
            _forget(each.scope, read)
        read |= {*values(_taken(each))}
        kept.append(each)
    scope.operations = kept[::-1]


def _check_leaving(run: Scope) -> None:
    """Refuses what one mode alone makes in a module and reads outside of it, but for what that returns."""
    made: dict[Value, tuple[Scope, ...]] = {}

    def walk(scope: Scope, chain: tuple[Scope, ...]) -> None:
        for each in scope.operations:
            makers = [made[value] for value in values(_taken(each)) if value in made]
            if any(maker != chain[: len(maker)] for maker in makers):
                raise ConversionError(f"{_name(scope)} reads what another module makes in one mode only")
            if each.scope is not None:
                walk(each.scope, (*chain, each.scope))
            if each.when is not None:
                made.update(dict.fromkeys(values(each.output), chain))

    walk(run, (run,))


def _name(scope: Scope) -> str:
    return f"{type(scope.module).__name__} {scope.path}".strip()
