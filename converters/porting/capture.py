"""Runs a torch module and records what it does, in the scope of the module that does it."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from converters.errors import ConversionError
from converters.porting import statements
from converters.porting.graph import Operation, Scope, Size, Value

# Attributes and methods that ask about a tensor and compute nothing.
ASKING = {"size", "dim", "ndim", "numel", "nelement", "__len__", "shape"}
DATA = {"__bool__", "item", "tolist", "__int__", "__float__", "__index__", "numpy", "nonzero", "__array__"}


DECOMPOSED = ("torch.nn.functional", "torch.functional")


class Recorder(TorchFunctionMode):
    """Records the calls of torch functions and modules while it is entered.

    Args:
        root: The module; its parameters and buffers have their names.
        leaves: Classes of modules whose calls are recorded as one operation.
        functions: Names of functions that are recorded whole; of others that are written in Python, what
            they call is recorded instead.
    """

    def __init__(self, root: torch.nn.Module, leaves: frozenset[type], functions: frozenset[str]) -> None:
        super().__init__()
        self._leaves, self._functions = leaves, functions
        self._names = {id(module): name for name, module in root.named_modules(remove_duplicate=True)}
        self._values: dict[int, Value] = {}
        self._alive: list[Any] = []  # else ids would be given again
        self._statements: dict[Any, int] = {}
        self._quiet = 0
        self.scopes: list[Scope] = []
        for name, tensor in (*root.named_parameters(), *root.named_buffers()):
            self._keep(tensor, Value(shape=tuple(tensor.shape), dtype=_dtype(tensor), parameter=name))

    def _keep(self, tensor: torch.Tensor, value: Value) -> Value:
        self._values[id(tensor)] = value
        self._alive.append(tensor)
        return value

    def value(self, tensor: torch.Tensor, name: str = "") -> Value:
        """Makes the value of a tensor that was computed, or that is given."""
        return self._keep(tensor, Value(shape=tuple(tensor.shape), dtype=_dtype(tensor), name=name))

    def _described(self, tree: Any) -> Any:
        """Returns a nesting with values in place of tensors."""
        match tree:
            case torch.Tensor():
                return self._values.get(id(tree)) or self._constant(tree)
            case torch.Size():
                return tuple(tree)
            case tuple() if hasattr(tree, "_fields"):
                return type(tree)(*map(self._described, tree))
            case tuple() | list():
                return type(tree)(map(self._described, tree))
            case dict():
                return {key: self._described(each) for key, each in tree.items()}
            case slice():
                return slice(*map(self._described, (tree.start, tree.stop, tree.step)))
        return tree

    def _constant(self, tensor: torch.Tensor) -> Value:
        """Returns the value of a tensor that nobody has seen made; it is an operation without arguments."""
        value = self.value(tensor)
        self.scopes[0].operations.insert(
            0, Operation(function="constant", arguments=[tensor], keywords={}, output=value)
        )
        return value

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._quiet or not self.scopes:
            return func(*args, **kwargs)
        name = _name(func)
        if name in ASKING and isinstance(args[0], torch.Tensor):
            return self._answer(name, args, func(*args, **kwargs))
        if name == "_assert":
            return func(*args, **kwargs)
        if name in DATA:
            raise ConversionError(
                f"{_at(statements.running())}: `{name}` reads numbers of a tensor that depends on the "
                "inputs; what follows would hold for these inputs only."
            )
        if name not in self._functions and inspect.isfunction(func) and _decomposes(func):
            with self:
                return _undispatched(func)(*args, **kwargs)
        arguments, keywords = self._described(list(args)), self._described(kwargs)
        output = func(*args, **kwargs)
        if any(isinstance(each, torch.Tensor) for each in torch.utils._pytree.tree_leaves(output)):
            self._record(Operation(function=name, arguments=arguments, keywords=keywords), output)
        return output

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Runs the block without recording."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def _answer(self, name: str, args: Sequence[Any], answer: Any) -> Any:
        value = self._described(args[0])
        if isinstance(answer, torch.Size):
            return torch.Size(Size(size, ("axis", value, axis)) for axis, size in enumerate(answer))
        if name == "size":
            return Size(answer, ("axis", value, args[1] % value.ndim))
        if name == "__len__":
            return Size(answer, ("axis", value, 0))
        return answer

    def _record(self, operation: Operation, output: Any) -> None:
        frame = statements.running()
        target: Any = ""
        if frame is not None:
            file = frame.f_code.co_filename
            line, target = statements.statement(file, frame.f_lineno)
            operation.place = (file, line)
            # The same statement of another call of the function is another one.
            operation.statement = self._statements.setdefault((id(frame), file, line), len(self._statements))
            self._alive.append(frame)
        operation.output = self._outputs(output, target)
        self.scopes[-1].operations.append(operation)

    def _outputs(self, output: Any, target: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return self.value(output, target if isinstance(target, str) else "")
        if isinstance(output, tuple | list):
            names = target if isinstance(target, tuple) and len(target) == len(output) else [""] * len(output)
            return [self._outputs(each, name) for each, name in zip(output, names, strict=True)]
        if isinstance(output, dict):
            return {key: self._outputs(each, "") for key, each in output.items()}
        return output

    def call(self, module: torch.nn.Module, original: Any, args: Any, kwargs: Any) -> Any:
        """Runs a module, and records it as a leaf or as a scope."""
        if self._quiet or (type(module) is torch.nn.Sequential and self.scopes):
            return original(module, *args, **kwargs)
        with self._silence():
            operation = Operation(
                function=type(module).__name__,
                arguments=self._described(list(args)),
                keywords=self._described(dict(kwargs)),
                module=module,
                path=self._names.get(id(module), ""),
            )
            if type(module) in self._leaves:
                output = original(module, *args, **kwargs)
                self._record(operation, output)
                return output
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            inputs = self._described(dict(bound.arguments))
            operation.scope = Scope(path=operation.path, module=module, inputs=inputs)
        self.scopes.append(operation.scope)
        output = original(module, *args, **kwargs)
        with self._silence():
            operation.scope.output = self._described(output)
            if len(self.scopes) == 1:  # the root's, which is kept
                return output
            self.scopes.pop()
            # What it returns has another value here, and may be what it was given.
            output = torch.utils._pytree.tree_map(
                lambda each: each.view_as(each) if isinstance(each, torch.Tensor) else each, output
            )
            self._record(operation, output)
        return output


def captured(
    module: torch.nn.Module,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    leaves: frozenset[type],
    functions: frozenset[str],
) -> tuple[Scope, Any]:
    """Runs a module and returns what it did, and its output."""
    recorder = Recorder(module, leaves, functions)
    names = [*inspect.signature(module.forward).parameters]
    for name, each in (*zip(names, inputs, strict=False), *kwargs.items()):
        for tensor in torch.utils._pytree.tree_leaves(each):
            if isinstance(tensor, torch.Tensor):
                recorder.value(tensor, name)
    with torch.no_grad(), _exporting(), _calls_of_modules(recorder), recorder:
        output = module(*inputs, **kwargs)
    return recorder.scopes[0], output


def _decomposes(func: Any) -> bool:
    """Returns whether a function of torch is Python that calls others; not one that only chooses."""
    return func.__module__ in DECOMPOSED and "_jit_internal" not in func.__code__.co_filename


@cache
def _undispatched(func: Any) -> Any:
    """Returns a copy of one of torch's Python functions that does not hand itself over to the recorder."""
    plain = {
        name: (lambda *tensors: False) for name in func.__globals__ if name.startswith("has_torch_function")
    }
    made = FunctionType(
        func.__code__, {**func.__globals__, **plain}, func.__name__, func.__defaults__, func.__closure__
    )
    made.__kwdefaults__ = func.__kwdefaults__
    return made


@contextmanager
def _exporting() -> Iterator[None]:
    """Lets torch code take the paths that do not depend on the numbers in its inputs, as for torch.export."""
    flags = {"_is_compiling_flag": True, "_is_exporting_flag": True}
    before = {name: getattr(torch.compiler, name) for name in flags}
    try:
        vars(torch.compiler).update(flags)
        yield
    finally:
        vars(torch.compiler).update(before)


@contextmanager
def _calls_of_modules(recorder: Recorder) -> Iterator[None]:
    original = torch.nn.Module.__call__

    def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        return recorder.call(module, original, args, kwargs)

    torch.nn.Module.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original  # type: ignore[method-assign]


def _name(func: Any) -> str:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(func.__self__, "__name__", name)
    return name


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _at(frame: Any) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "the module"
