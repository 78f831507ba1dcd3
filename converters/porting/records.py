"""The record of a run: what each tensor is, and the operations of each scope."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from converters.porting import statements
from converters.porting.aliases import Tensors, shares
from converters.porting.dispatch import RANDOM, STATEFUL, UPDATED
from converters.porting.graph import Operation, Scope, Value, mapped, values
from converters.porting.refusals import refuse, refuse_changed

COUNTED = "num_batches_tracked"  # which Flax does not count


class Record:
    """Scopes and their operations, as they are noted.

    Args:
        root: The module; its parameters and buffers have their names.
        functions: Names of functions that are recorded whole.
    """

    def __init__(self, root: torch.nn.Module, functions: frozenset[str]) -> None:
        super().__init__()
        self._functions = functions
        self._tensors = Tensors(self._follow)
        self._training = root.training
        self._buffers: dict[str, tuple[Value, Value]] = {}  # by name: as they were at first, and last
        self._statements: dict[Any, int] = {}
        self._frames: list[Any] = []  # kept, else their ids would be given to others
        self.scopes: list[Scope] = []
        for name, parameter in root.named_parameters():
            self._tensors.keep(parameter, _value(parameter, parameter=name))
        kept = {*root.state_dict()}
        for name, tensor in root.named_buffers():
            known = tensor if name not in kept else None
            value = _value(tensor, parameter=name, buffer=True, constant=known)
            self._buffers[name] = self._tensors.keep(tensor, value), value

    def given(self, tensor: torch.Tensor, name: str) -> None:
        """Notes a tensor that the module is called with."""
        self._tensors.keep(tensor, _value(tensor, name=name))

    # Values.

    def _described(self, tree: Any) -> Any:
        """Returns a nesting with values in place of tensors."""
        return mapped(tree, lambda each: self._known(each) if isinstance(each, torch.Tensor) else each)

    def _known(self, tensor: torch.Tensor) -> Value:
        """Returns the value of a tensor; one that nobody has seen made is a constant."""
        if tensor not in self._tensors:
            self._tensors.keep(tensor, _value(tensor, constant=tensor))
        return self._tensors.get(tensor)

    def _follow(self, function: str, arguments: list[Any], keywords: dict[str, Any], like: Any) -> Value:
        """Notes an operation that follows from a change in place."""
        value = _value(like)
        self._append(
            Operation(function=function, arguments=arguments, keywords=keywords, output=value, follows=True)
        )
        return value

    # Operations.

    def _place(self) -> str:
        frame = statements.running()
        return f"{frame.f_code.co_filename}:{frame.f_lineno}: " if frame else ""

    def _append(self, operation: Operation) -> Any:
        """Notes an operation, and returns the names that its statement assigns to."""
        frame = statements.running()
        target: Any = ""
        if frame is not None:
            file = frame.f_code.co_filename
            line, target = statements.statement(file, frame.f_lineno)
            operation.place = (file, line)
            # The same statement of another call of the function is another one.
            operation.statement = self._statements.setdefault((id(frame), file, line), len(self._statements))
            self._frames.append(frame)
        self.scopes[-1].operations.append(operation)
        return target

    def _note(self, operation: Operation, output: Any, tensors: Sequence[Any], changed: Sequence[Any]) -> Any:
        """Notes an operation with what it gives and changes; returns the output for the torch code."""
        name = operation.function
        if changed and name not in STATEFUL and operation.module is None:
            operation.keywords = {key: each for key, each in operation.keywords.items() if key != "out"}
            operation.function = self._without_change(name)
        if changed and name not in STATEFUL:
            return self._note_change(operation, output, changed)
        if not any(isinstance(each, torch.Tensor) for each in tree_leaves(output)):
            return output
        target = self._append(operation)
        # What is given back as it is gets a name of its own: a dropout does so, outside of training.
        output = tree_map(lambda each: each.view_as(each) if _is_one(each, tensors) else each, output)
        operation.output = self._outputs(operation, output, target, tensors)
        return output

    def _without_change(self, name: str) -> str:
        """Returns the name of a function that gives what another one changes in place."""
        for plain in (name, name.removesuffix("_"), name.replace("__i", "__", 1)):
            if plain in self._functions:
                return plain
        return name

    def _note_change(self, operation: Operation, output: Any, changed: Sequence[torch.Tensor]) -> Any:
        # A change of one tensor shows in all views of its memory.
        first = next((each for each in changed if each is output), changed[0])
        if not all(shares(each, first) for each in changed) or not (output is None or output is first):
            refuse(self._place(), f"`{operation.function}` changes several tensors in place.")
        before = self._tensors.get(first)
        if before.parameter.endswith(COUNTED):
            return output
        for each in self._tensors.held(first):
            followed = self._training and each.buffer and each.constant is None
            if each.parameter and not followed and (self._training or each is before):
                refuse_changed(each.parameter, self._place())
        target = self._append(operation)
        value = _value(first, name=target if isinstance(target, str) and output is not None else before.name)
        operation.output = value
        self._tensors.change(first, value, self._place())
        return output

    def _note_updates(self, scope: Scope) -> None:
        """Notes what training has made of the buffers of a module, at the end of its call."""
        for name, tensor in scope.module.named_buffers(scope.path):
            if not self._training or name not in self._buffers or name.endswith(COUNTED):
                continue
            first, last = self._buffers[name]
            value = self._known(tensor)
            if value is last:
                continue
            if first.constant is not None:
                refuse_changed(name, self._place())
            self._append(Operation(function=UPDATED, arguments=[first, value], keywords={}))
            self._buffers[name] = first, value

    def _outputs(self, operation: Operation, output: Any, target: Any, tensors: Sequence[Any]) -> Any:
        """Returns the values of what an operation gives, and notes which of it are views."""
        known = operation.function not in RANDOM and operation.module is None and operation.scope is None
        known = known and all(
            each.constant is not None for each in values((operation.arguments, operation.keywords))
        )
        found = [each for each in tree_leaves(output) if isinstance(each, torch.Tensor)]
        names = (target,) if isinstance(target, str) else target
        names = names if len(names) == len(found) else ("",) * len(found)
        made: dict[int, Value] = {}
        for tensor, name in zip(found, names, strict=True):
            value = _value(tensor, name=name, constant=tensor if known else None)
            made[id(tensor)] = value
            parent = next((each for each in tensors if each is not tensor and shares(each, tensor)), None)
            if parent is None:
                self._tensors.keep(tensor, value)
            else:
                self._tensors.keep_view(tensor, value, parent, operation)
        return mapped(output, lambda each: made[id(each)] if isinstance(each, torch.Tensor) else each)


def _is_one(tensor: Any, of: Sequence[torch.Tensor]) -> bool:
    return isinstance(tensor, torch.Tensor) and any(tensor is each for each in of)


def _value(tensor: torch.Tensor, **known: Any) -> Value:
    return Value(shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."), **known)
