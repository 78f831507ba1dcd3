"""Several methods of a torch module as one call, which a port follows like any other."""

import copy
import inspect
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch

from converters.errors import ConversionError

Calls: TypeAlias = Mapping[str, Mapping[str, Any]]  # of each method its arguments, by name

RUNS = "_methods_under_way"  # attribute of a module that runs as several methods


class Method(torch.nn.Module):
    """A method that is called like a module, and has the arrays of the module that it belongs to.

    Args:
        method: Its name.
        function: The method, bound to the module.
    """

    def __init__(self, method: str, function: Any) -> None:
        super().__init__()
        self.method, self.forward = method, function


def together(module: torch.nn.Module, calls: Calls) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Returns the module with a `forward` that calls several methods, and its arguments by name.

    It gives what they give, in a tuple. The module itself stays as it is; both have the same parameters. What
    two methods are given is two arguments, though it is one tensor.
    """
    count = Counter(name for each in calls.values() for name in each)
    # Of two methods that take an `x`, one is given it as `encode_x`.
    names = {
        (method, name): name if count[name] == 1 else f"{method}_{name}"
        for method, each in calls.items()
        for name in each
    }
    kind = type(module)
    kinds = {method: type(method, (Method,), {}) for method in calls}

    def forward(self: torch.nn.Module, *given: Any, **named: Any) -> Any:
        if under_way(self):  # a method calls the module itself
            return kind.forward(self, *given, **named)
        every = {**dict(zip(names.values(), given, strict=False)), **named}
        found = []
        with _calling(self):
            for method, each in calls.items():
                arguments = {name: every[names[method, name]] for name in each}
                function = kind.forward.__get__(self) if method == "forward" else getattr(self, method)
                args, kwargs = called_with(function, arguments)
                found.append(kinds[method](method, function)(*args, **kwargs))
        return tuple(found)

    taken = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names.values()]
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(forward)["__signature__"] = inspect.Signature([own, *taken])
    made = copy.copy(module)
    about = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "forward": forward}
    made.__class__ = type(kind.__name__, (kind,), about)
    arguments = {names[method, name]: _copied(calls[method][name]) for method, name in names}
    return made, arguments


def called_with(
    function: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns positional and keyword arguments for a function, of those by the names of its parameters."""
    found = inspect.BoundArguments(inspect.signature(function), OrderedDict(arguments))
    return found.args, found.kwargs


@contextmanager
def _calling(module: torch.nn.Module) -> Iterator[None]:
    """Marks a module of `together` as running, for methods that call it."""
    vars(module)[RUNS] = True
    try:
        yield
    finally:
        del vars(module)[RUNS]


def under_way(module: torch.nn.Module) -> bool:
    """Returns whether one of a module's methods runs, so that its `forward` is the one that it was."""
    return RUNS in vars(module)


def _copied(tree: Any) -> Any:
    return torch.utils._pytree.tree_map(
        lambda each: each.clone() if isinstance(each, torch.Tensor) else each, tree
    )


def called(module: torch.nn.Module, methods: Mapping[str, Any]) -> Calls:
    """Returns the arguments of methods by their names.

    Args:
        module: The module.
        methods: For each method its arguments: a sequence, or a mapping of names to them.

    Raises:
        ConversionError: the module has no such method, or it takes other arguments.
    """
    found = {}
    for name, given in methods.items():
        function = getattr(module, name, None)
        if not inspect.ismethod(function) or not name.isidentifier():
            raise ConversionError(f"methods={name!r}: {type(module).__name__} has no method of that name")
        if isinstance(given, torch.Tensor):
            raise ConversionError(f"methods={name!r}: give its arguments as a tuple, such as (x,)")
        signature = inspect.signature(function)
        args, kwargs = _by_position(signature, given) if isinstance(given, Mapping) else (given, {})
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ConversionError(f"{type(module).__name__}.{name}: {error}") from error
        unnamed = [each for each in bound.signature.parameters.values() if each.kind == each.VAR_POSITIONAL]
        if unnamed and unnamed[0].name in bound.arguments:
            raise ConversionError(f"{type(module).__name__}.{name} takes any number of arguments")
        found[name] = dict(bound.arguments)
    return found


def _by_position(
    signature: inspect.Signature, given: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Returns arguments by name, with those apart that a method takes by position alone."""
    alone = {name for name, each in signature.parameters.items() if each.kind is each.POSITIONAL_ONLY}
    named = {name: each for name, each in given.items() if name not in alone}
    return [given[name] for name in signature.parameters if name in alone & {*given}], named
