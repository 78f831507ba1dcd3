"""Finds what a module does in training that it does not do in eval mode, and that its layers do not tell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from converters.porting.caches import fresh
from converters.porting.capture import captured
from converters.porting.graph import Operation, Scope, Value, leaves

# Functions whose handlers know what training changes in them.
_KNOWN = {"dropout", "dropout_", "batch_norm", "scaled_dot_product_attention"}


def only_in_training(
    module: torch.nn.Module,
    scope: Scope,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    kinds: frozenset[type],
    functions: frozenset[str],
) -> tuple[str, ...]:
    """Returns the modules that do other things in training, each with the reason, in words.

    Args:
        module: The module, in eval mode; a copy runs.
        scope: What it does in eval mode; its operations learn what they are in training.
        args: As it is called.
        kwargs: The same.
        kinds: Classes of layers.
        functions: Names of functions that are recorded whole.
    """
    try:
        trained, _ = captured(fresh(module).train(), args, kwargs, kinds, functions)
    except Exception as error:  # whatever a module raises that cannot be trained with these inputs
        return (f"{type(module).__name__} did not run in training: {error}",)
    return tuple(dict.fromkeys(_differing(scope, trained)))


def _differing(scope: Scope, trained: Scope) -> Iterator[str]:
    one, two = scope.operations, trained.operations
    if [_key(each) for each in one] != [_key(each) for each in two]:
        yield f"{_name(scope)} does other things"
        children = {each.path: each.scope for each in two if each.scope is not None}
        for each in one:
            if each.scope is not None and each.path in children:
                yield from _differing(each.scope, children[each.path])
        return
    for operation, other in zip(one, two, strict=True):
        operation.trained = other
        if operation.scope is not None and other.scope is not None:
            yield from _differing(operation.scope, other.scope)
        elif operation.function not in _KNOWN and _numbers(operation) != _numbers(other):
            file, line = operation.place
            yield f"{_name(scope)} calls {operation.function} with other numbers ({file}:{line})"


def _key(operation: Operation) -> tuple[str, str]:
    return operation.function, operation.path


def _name(scope: Scope) -> str:
    return f"{type(scope.module).__name__} {scope.path}".strip()


def _numbers(operation: Operation) -> list[Any]:
    """Returns the arguments that are no tensors."""
    found = leaves([[*operation.arguments], dict(operation.keywords)])
    return [str(each) for each in found if not isinstance(each, Value)]
