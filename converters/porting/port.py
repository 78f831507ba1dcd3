"""The source of a Flax module from two runs of a torch module."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from converters.porting.capture import captured
from converters.porting.emit import Emitter, Order, channels_last, plain
from converters.porting.functions import FUNCTIONS
from converters.porting.graph import Scope, Value, values
from converters.porting.layers import LAYERS
from converters.porting.unify import unified
from converters.porting.writing import helpers
from converters.porting.writing.classes import Classes
from converters.porting.writing.source import source

HEAD = """from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from zoo import BatchNorm

"""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A source, and what it takes and gives.

    Attributes:
        source: Text of the file.
        root: Name of the class of the whole module.
        inputs: Names of the arguments that hold arrays, with their values.
        outputs: What the module returns.
        orders: Order of the axes of each value in `inputs` and `outputs`.
        uses_train: If true, the module does other things in training.
        scope: The run.
    """

    source: str
    root: str
    inputs: Mapping[str, Any]
    outputs: Any
    orders: Mapping[Value, Order]
    uses_train: bool
    scope: Scope

    def arrays(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Returns the arguments of the Flax module, in order.

        Args:
            arguments: NumPy arrays as the torch module takes them, by name.
        """
        return [self._arranged(given, arguments[name]) for name, given in self.inputs.items()]

    def results(self, output: Any) -> list[np.ndarray]:
        """Returns the arrays of the torch module's output, with their axes as the Flax module has them."""
        found: list[np.ndarray] = []
        self._arranged(self.outputs, output, found)
        return found

    def _arranged(self, tree: Any, given: Any, found: list[np.ndarray] | None = None) -> Any:
        match tree:
            case Value():
                made = np.transpose(given, self.orders[tree])
                if found is not None:
                    found.append(made)
                return made
            case tuple() | list():
                # Named tuples, too, are plain ones here.
                return type(given)(self._arranged(a, b, found) for a, b in zip(tree, given, strict=True))
            case dict():
                return {key: self._arranged(each, given[key], found) for key, each in tree.items()}
        return given


def write(
    module: torch.nn.Module,
    arguments: Mapping[str, Any],
    others: Mapping[str, Any],
) -> Written:
    """Runs a module twice and returns its source.

    Args:
        module: In eval mode.
        arguments: What `forward` takes, by name.
        others: The same at other sizes.
    """
    leaves, functions = frozenset(LAYERS), frozenset(FUNCTIONS)
    captured(module, (), arguments, leaves, functions)  # fills what the module caches in its first call
    runs = [captured(module, (), each, leaves, functions)[0] for each in (arguments, others)]
    scope = unified(*runs)
    scope.inputs = {name: each for name, each in scope.inputs.items() if any(True for _ in values(each))}
    orders = {
        value: channels_last(value.ndim) if value.ndim >= 4 and value.floating else plain(value.ndim)
        for value in values(scope.inputs)
    }
    code = Emitter(scope, orders, FUNCTIONS, LAYERS).run()
    orders |= dict(zip(values(scope.output), code.orders, strict=True))
    classes = Classes()
    root = classes.add(code)
    classes.decide()
    body = source(classes)
    used = [
        f"{inspect.getsource(function)}\n\n"
        for name, function in vars(helpers).items()
        if inspect.isfunction(function) and function.__module__ == helpers.__name__ and f"{name}(" in body
    ]
    return Written(
        source=f"{HEAD}{''.join(used)}{body}\n",
        root=root.name,
        inputs=scope.inputs,
        outputs=scope.output,
        orders=orders,
        uses_train=code.uses_train,
        scope=scope,
    )


def written(
    module: torch.nn.Module, inputs: Sequence[Any], others: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, str]:
    """Returns the source of a module, and the name of its class; arguments by position."""
    bind = inspect.signature(module.forward).bind
    made = write(module, bind(*inputs, **kwargs).arguments, bind(*others, **kwargs).arguments)
    return made.source, made.root
