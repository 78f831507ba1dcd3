"""Prepares torch for a run: modules tell of their calls, and take paths that can be exported."""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.nn.utils import parametrize

# Methods that a layer's subclass may write anew and still compute the same.
_SAME = {
    "__init__",
    "reset_parameters",
    "extra_repr",
    "__setstate__",
    "_load_from_state_dict",
    "init_weights",
    "train",  # the mode is a layer's own
    "eval",
}


class DropPath:
    """Stands for the modules of any library that drop whole examples of a residual branch."""


def kind_of(module: torch.nn.Module, leaves: frozenset[type]) -> type | None:
    """Returns the class of a layer that a module is: its own, or one that it adds nothing to; or None."""
    name = type(module).__name__
    if (name.endswith("DropPath") or name == "StochasticDepth") and not module.state_dict():
        return DropPath
    for kind in type(module).__mro__:
        if kind in leaves:
            return kind
        parametrized = kind is type(module) and parametrize.is_parametrized(module)
        if not parametrized and any(callable(each) for key, each in vars(kind).items() if key not in _SAME):
            return None
    return None


@contextmanager
def calls_of_modules(call: Callable[[torch.nn.Module, Any, Any, Any], Any]) -> Iterator[None]:
    """Hands every call of a module in this thread over, with the function that makes it."""
    original, thread = torch.nn.Module.__call__, threading.get_ident()

    def handed(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return original(module, *args, **kwargs)
        return call(module, original, args, kwargs)

    with mock.patch.object(torch.nn.Module, "__call__", handed):
        yield


@contextmanager
def exporting(module: torch.nn.Module) -> Iterator[None]:
    """Lets torch code take the paths that do not depend on numbers; keeps buffers and random numbers."""
    compiler: Any = torch.compiler
    distributions: Any = torch.distributions.Distribution
    checks = distributions._validate_args  # which read the numbers of parameters
    flags = compiler._is_compiling_flag, compiler._is_exporting_flag
    fast = torch.backends.mha.get_fastpath_enabled()
    buffers = {name: copy.deepcopy(each) for name, each in module.named_buffers()}
    try:
        compiler._is_compiling_flag = compiler._is_exporting_flag = True
        torch.backends.mha.set_fastpath_enabled(False)
        distributions.set_default_validate_args(False)
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        compiler._is_compiling_flag, compiler._is_exporting_flag = flags
        torch.backends.mha.set_fastpath_enabled(fast)
        distributions.set_default_validate_args(checks)
        with torch.no_grad():
            for name, each in module.named_buffers():
                if name in buffers and each.shape == buffers[name].shape:
                    each.copy_(buffers[name])
