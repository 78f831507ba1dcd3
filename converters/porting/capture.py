"""Runs a torch module and records what it does, in the scope of the module that does it."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from converters.errors import ConversionError
from converters.porting.dispatch import (
    ASKING,
    HARMLESS,
    NOTHING,
    decomposes,
    name_of,
    undispatched,
)
from converters.porting.graph import Operation, Scope, Size, mapped, values
from converters.porting.methods import under_way
from converters.porting.records import Record
from converters.porting.refusals import refuse_made, refuse_reading, refuse_shape
from converters.porting.surroundings import calls_of_modules, exporting, kind_of


class Recorder(Record, TorchFunctionMode):
    """Records the calls of torch functions and modules while it is entered.

    Args:
        root: The module; its parameters and buffers have their names.
        leaves: Classes of modules whose calls are recorded as one operation.
        functions: Names of functions that are recorded whole; of others that are written in Python, what
            they call is recorded instead.
        partial: If true, modules that cannot be ported are left out, all but the root.
    """

    def __init__(
        self,
        root: torch.nn.Module,
        leaves: frozenset[type],
        functions: frozenset[str],
        *,
        partial: bool = False,
    ) -> None:
        super().__init__(root, functions)
        self._partial, self._leaves = partial, leaves
        self._names = {id(module): name for name, module in root.named_modules(remove_duplicate=True)}
        self._weights = {id(parameter) for parameter in root.parameters()}
        self._quiet = 0

    # Functions.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, name_of(func)
        if self._quiet or not self.scopes or name in NOTHING:
            return func(*args, **kwargs)
        if name in ASKING and isinstance(args[0], torch.Tensor):
            return self._answer(name, args, func(*args, **kwargs))
        if name == "__iter__":
            with self:
                return iter(args[0].unbind(0))
        if getattr(func, "__module__", "") == torch.nn.init.__name__:
            refuse_made(name, self._place())
        whole = name in self._functions or not inspect.isfunction(func) or not decomposes(func)
        if not whole:
            with self:
                return undispatched(func)(*args, **kwargs)
        arguments, keywords = self._described(list(args)), self._described(kwargs)
        self._check(name, args, arguments, keywords)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        versions = [each._version for each in tensors]
        output = func(*args, **kwargs)
        changed = [t for t, version in zip(tensors, versions, strict=True) if t._version != version]
        operation = Operation(function=name, arguments=arguments, keywords=keywords)
        return self._note(operation, output, tensors, changed)

    def _check(self, name: str, args: Sequence[Any], arguments: Any, keywords: Any) -> None:
        """Refuses what holds for these numbers only."""
        known = all(each.constant is not None for each in values((arguments, keywords)))
        if not known:
            refuse_reading(name, self._place())
            refuse_shape(name, args, self._place())

    def _answer(self, name: str, args: Sequence[Any], answer: Any) -> Any:
        """Returns a size with its origin."""
        if name in HARMLESS:
            return answer
        value = self._described(args[0])
        if isinstance(answer, torch.Size):
            return torch.Size(Size(size, ("axis", value, axis)) for axis, size in enumerate(answer))
        if name in ("numel", "nelement"):
            total: Any = 1
            for axis, size in enumerate(value.shape):
                total = Size(size, ("axis", value, axis)) * total if axis else Size(size, ("axis", value, 0))
            return total
        axis = args[1] if len(args) > 1 else 0
        return Size(answer, ("axis", value, axis % value.ndim))

    # Modules.

    def call(self, module: torch.nn.Module, original: Any, args: Any, kwargs: Any) -> Any:
        """Runs a module, and records it as a leaf or as a scope."""
        if self._quiet or (self.scopes and (type(module) is torch.nn.Sequential or under_way(module))):
            return original(module, *args, **kwargs)
        if self.scopes and any(id(each) not in self._weights for each in module.parameters(recurse=False)):
            refuse_made(type(module).__name__, self._place())
        kind = kind_of(module, self._leaves) if self.scopes else None
        with self._silence():
            operation = Operation(
                function=(kind or type(module)).__name__,
                arguments=self._described(list(args)),
                keywords=self._described(dict(kwargs)),
                module=module,
                kind=kind,
                path=self._names.get(id(module), ""),
                training=module.training,
            )
            tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
            if kind is not None:
                versions = [each._version for each in tensors]
                output = original(module, *args, **kwargs)
                changed = [t for t, version in zip(tensors, versions, strict=True) if t._version != version]
                return self._note(operation, output, tensors, changed)
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            inputs = self._described(dict(bound.arguments))
            operation.scope = Scope(path=operation.path, module=module, inputs=inputs)
        return self._call_of_scope(operation, original, args, kwargs)

    def _call_of_scope(self, operation: Operation, original: Any, args: Any, kwargs: Any) -> Any:
        scope = operation.scope
        assert scope is not None
        self.scopes.append(scope)
        try:
            output = original(operation.module, *args, **kwargs)
        except ConversionError as error:
            if not self._partial or scope is self.scopes[0]:
                raise
            scope.missing = str(error)
            scope.operations.clear()
            del self.scopes[self.scopes.index(scope) + 1 :]
            with self._silence():
                output = original(operation.module, *args, **kwargs)
        with self._silence():
            scope.output = self._described(output)
            self._note_updates(scope)
            if len(self.scopes) == 1:  # the root's, which is kept
                return output
            self.scopes.pop()
            # What it returns has another value here, and may be what it was given.
            inner = [each for each in tree_leaves(output) if isinstance(each, torch.Tensor)]
            output = tree_map(
                lambda each: each.view_as(each) if isinstance(each, torch.Tensor) else each, output
            )
            target = self._append(operation)
            operation.output = self._outputs(operation, output, target, inner)
            return output

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Runs the block without recording."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1


def captured(
    module: torch.nn.Module,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    leaves: frozenset[type],
    functions: frozenset[str],
    *,
    partial: bool = False,
) -> tuple[Scope, Any]:
    """Runs a module and returns what it did, and its output.

    Its parameters, its buffers and the state of torch's random numbers are as before.

    Raises:
        ConversionError: it does what cannot be ported; the message says where.
    """
    recorder = Recorder(module, leaves, functions, partial=partial)
    names = [*inspect.signature(module.forward).parameters]
    for name, each in (*zip(names, inputs, strict=False), *kwargs.items()):
        for tensor in leaves_of(each):
            recorder.given(tensor, name)
    with torch.no_grad(), exporting(module), calls_of_modules(recorder.call), recorder:
        output = module(*inputs, **kwargs)
    return recorder.scopes[0], output


def leaves_of(tree: Any) -> list[torch.Tensor]:
    """Returns the tensors in a nesting of tuples, lists, mappings and dataclasses."""
    found: list[torch.Tensor] = []
    mapped(tree, lambda each: found.append(each) if isinstance(each, torch.Tensor) else None)
    return found
