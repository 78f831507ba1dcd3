"""Finds what a module does in training that it does not do in eval mode, and that its layers do not tell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from converters.porting.caches import fresh
from converters.porting.capture import captured
from converters.porting.graph import Operation, Scope, Value, leaves, values
from converters.porting.weaving import KNOWN


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that training does and eval mode does not.

    Attributes:
        what: The module and what it does, in words.
        where: The place in the torch code, or the error; "" if there is none.
    """

    what: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.what}{self.where}"


def only_in_training(
    module: torch.nn.Module,
    scope: Scope,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    kinds: frozenset[type],
    functions: frozenset[str],
) -> tuple[Difference, ...]:
    """Returns what modules do in training that the source leaves out.

    Args:
        module: The module, in eval mode; a copy runs.
        scope: Run in eval mode; its operations learn what they are in training.
        args: As it is called.
        kwargs: The same.
        kinds: Classes of layers.
        functions: Names of functions that are recorded whole.
    """
    try:
        trained, _ = captured(fresh(module).train(), args, kwargs, kinds, functions)
    except Exception as error:  # whatever a module raises that cannot be trained with these inputs
        return (Difference(what=f"{type(module).__name__} did not run", where=f": {error}"),)
    return tuple(dict.fromkeys(_differing(scope, trained)))


def _differing(scope: Scope, trained: Scope) -> Iterator[Difference]:
    # What follows from a change in place does so in training alone, if that is a dropout's.
    one, two = ([op for op in run.operations if not op.follows] for run in (scope, trained))
    if [_key(each) for each in one] != [_key(each) for each in two]:
        yield Difference(what=f"{_name(scope)} does other things{_more(scope, trained)}")
        children = {each.path: each.scope for each in two if each.scope is not None}
        for each in one:
            if each.scope is not None and each.path in children:
                yield from _differing(each.scope, children[each.path])
        return
    for operation, other in zip(one, two, strict=True):
        operation.trained = other
        if operation.scope is not None and other.scope is not None:
            yield from _differing(operation.scope, other.scope)
        elif operation.function not in KNOWN and _numbers(operation) != _numbers(other):
            file, line = operation.place
            what = f"{_name(scope)} calls {operation.function} with other numbers"
            yield Difference(what=what, where=f" ({file}:{line})")


def _more(scope: Scope, trained: Scope) -> str:
    """Returns the layers that only training calls, and how much it returns, in words."""
    ours = {each.path for each in scope.operations}
    called = dict.fromkeys(each.path for each in trained.operations if each.path and each.path not in ours)
    words = [f"calls {', '.join(called)}"] if called else []
    count, fewer = (sum(True for _ in values(each.output)) for each in (trained, scope))
    words += [f"returns {count} arrays instead of {fewer}"] if count != fewer else []
    return f": it {' and '.join(words)}" if words else ""


def _key(operation: Operation) -> tuple[str, str]:
    return operation.function, operation.path


def _name(scope: Scope) -> str:
    return f"{type(scope.module).__name__} {scope.path}".strip()


def _numbers(operation: Operation) -> list[Any]:
    """Returns the arguments that are no tensors."""
    found = leaves([[*operation.arguments], dict(operation.keywords)])
    return [str(each) for each in found if not isinstance(each, Value)]
