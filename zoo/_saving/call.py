"""The call of a module of one's own: what its arrays are found with, and what a directory remembers of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax

from converters.inspection import Inspection
from converters.linen import inspect_module
from zoo._errors import ZooError
from zoo._registry.entry import Input

CALL = "call.json"  # beside weights of a module that takes more than positional arrays
NAMES = "names.toml"  # beside weights that names pairs and rules converted
ARRAYS = ("inputs", "keywords")
ADVICE = (
    "Arrays are --input SHAPE in their order, --input NAME=SHAPE, or --input NAME.KEY=SHAPE for one in a "
    "dictionary; other arguments are --set NAME=VALUE, another method is --method NAME; --debug says where."
)
EVAL = {  # what arguments that tutorials require are in eval mode
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
    "eval": True,
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a module.

    Attributes:
        inputs: Positional arrays.
        keywords: Arrays that are keyword arguments; "batch.image" is that of "image" in a dictionary `batch`.
        values: Other keyword arguments.
        method: Name of the method.
    """

    inputs: tuple[Input, ...] = ()
    keywords: tuple[Input, ...] = ()
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    method: str | None = None

    def arguments(self, module: nn.Module) -> tuple[list[Any], dict[str, Any]]:
        """Returns positional and keyword arguments; a required flag of the mode is that of eval mode.

        Raises:
            ZooError: the module has no such method.
        """
        args = [_shape(each) for each in self.inputs]
        kwargs: dict[str, Any] = {}
        for each in self.keywords:
            name, _, key = each.name.partition(".")
            if key:
                kwargs.setdefault(name, {})[key] = _shape(each)
            else:
                kwargs[name] = _shape(each)
        required = [
            name
            for name, each in signature(self._function(module)).parameters.items()
            if each.default is Parameter.empty
            and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        ]
        flags = {name: EVAL[name] for name in required[len(args) :] if name in EVAL}
        return args, {**flags, **kwargs, **self.values}

    def _function(self, module: nn.Module) -> Any:
        found = getattr(module, self.method or "__call__", None)
        if found is None or not callable(found):
            own = [name for name, value in vars(type(module)).items() if callable(value) and name[0] != "_"]
            methods = ", ".join(name for name in own if name != "setup")
            name = self.method or "__call__"
            raise ZooError(f"{type(module).__name__} has no method {name!r}; choose with --method: {methods}")
        return found

    def inspect(self, module: nn.Module) -> Inspection:
        """Returns the inspection of the module by this call.

        Raises:
            ZooError: the module does not run on it.
        """
        args, kwargs = self.arguments(module)
        try:
            return inspect_module(module, *args, kwargs=kwargs, method=self.method)
        except Exception as error:
            shapes = ", ".join(f"{each.name}={each.shape}" for each in (*self.inputs, *self.keywords))
            text = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            advice = self.channels_first() or ADVICE
            raise ZooError(f"{type(module).__name__} does not run on {shapes}: {text}\n{advice}") from error

    def channels_first(self) -> str:
        """Returns a sentence for the first of the arrays that has the axes of PyTorch's images, if any."""
        for each in (*self.inputs, *self.keywords):
            if len(each.shape) == 4 and each.shape[1] <= 4 < each.shape[3]:
                batch, channels, height, width = each.shape
                return (
                    f"Images have their channels last here: {batch},{height},{width},{channels} "
                    f"instead of {batch},{channels},{height},{width}."
                )
        return ""

    def write(self, directory: Path) -> None:
        """Writes the call beside weights."""
        arrays = {
            name: [[each.name, list(each.shape), each.dtype] for each in getattr(self, name)]
            for name in ARRAYS
        }
        content = {**arrays, "values": dict(self.values), "method": self.method}
        (directory / CALL).write_text(json.dumps(content, indent=2) + "\n")


def _shape(each: Input) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(each.shape, each.dtype)


def parse(inputs: Sequence[str], values: Mapping[str, Any], method: str | None) -> Call:
    """Returns the call with arrays such as 1,28,28,1 or mask=1,16:int32.

    Raises:
        ValueError: a text does not say an array's sizes.
    """
    positional: list[Input] = []
    keywords: list[Input] = []
    for text in inputs:
        name, equals, rest = text.rpartition("=")
        shape, _, dtype = rest.partition(":")
        sizes = tuple(int(size) for size in shape.split(",")) if shape else ()
        made = Input(name or f"input{len(positional)}", sizes, dtype or "float32")
        (keywords if equals else positional).append(made)
    return Call(inputs=tuple(positional), keywords=tuple(keywords), values=values, method=method)


def read(directory: Path) -> Call | None:
    """Returns the call that a directory remembers.

    Raises:
        ZooError: the file is not one that `convert` wrote.
    """
    path = directory / CALL
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        arrays = {
            kind: tuple(
                Input(str(name), tuple(map(int, shape)), str(dtype)) for name, shape, dtype in content[kind]
            )
            for kind in ARRAYS
        }
        return Call(**arrays, values=dict(content["values"]), method=content["method"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ZooError(f"{str(path)!r} is not what zoo convert wrote: {error}") from error
