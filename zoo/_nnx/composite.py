"""Modules of NNX that run the code of linen classes."""

from collections.abc import Callable, Iterator
from functools import cache, wraps
from types import FunctionType
from typing import Any

import flax.linen as nn
from flax import nnx

from zoo._nnx.calls import run
from zoo._nnx.definition import MODES, Definition

OURS = ("definition", "deterministic", "rngs")  # attributes that a linen module's must not have


class Composite(nnx.Module):
    """A module that computes what a linen module does; its arrays and the modules below it are NNX's.

    Attributes:
        definition: The linen module, without arrays.
        deterministic: False in training; `train()` and `eval()` set it.
        rngs: Random streams, where the linen module itself draws from such.
    """

    def __init__(self, definition: Definition, rngs: nnx.Rngs | None = None) -> None:
        self.definition = definition
        self.deterministic = True
        if rngs is not None:
            self.rngs = rngs

    def __getattr__(self, name: str) -> Any:
        """Returns a field or property of the linen module."""
        # `train()` asks every module for these attributes, and would set them in vain.
        if name not in (*OURS, *MODES) and not name.startswith("__"):
            module = self.definition.module
            if name in type(module).__dataclass_fields__ or isinstance(
                getattr(type(module), name, None), property
            ):
                return getattr(module, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; the linen module's fields, which its code reads, are not among them.

        Raises:
            AttributeError: it is such a field.
        """
        definition = vars(self).get("definition")
        is_field = definition is not None and name in type(definition.module).__dataclass_fields__
        if is_field and name not in OURS and not isinstance(value, nnx.Module | nnx.Variable):
            raise AttributeError(
                f"{name!r} is a field of linen's {type(self).__name__}, which its code reads; build the "
                f"model with another {name}= and load its weights."
            )
        super().__setattr__(name, value)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Sets the mode, for `nnx.view`.

        Args:
            deterministic: If true, the module does not train; None leaves it as it is.
        """
        if deterministic is not None:
            self.deterministic = deterministic


@cache
def composite(kind: Any) -> type[Composite]:
    """Returns the class of composites that run a linen class, with its name and its methods."""
    row = {"torch_row": kind.torch_row} if hasattr(kind, "torch_row") else {}
    named = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (Composite,), {**named, **row, **dict(_methods(kind))})


def _methods(kind: type[nn.Module]) -> Iterator[tuple[str, Callable[..., Any]]]:
    own = kind.__mro__[: kind.__mro__.index(nn.Module)]
    for base in reversed(own):
        for name, function in vars(base).items():
            special = name.startswith("__") and name.endswith("__")
            if isinstance(function, FunctionType) and name != "setup" and (name == "__call__" or not special):
                yield name, _method(name, function)


def _method(name: str, function: FunctionType) -> Callable[..., Any]:
    @wraps(function)
    def method(self: Composite, *args: Any, **kwargs: Any) -> Any:
        return run(self, name, args, kwargs)

    return method
