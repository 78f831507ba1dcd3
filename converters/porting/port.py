"""Any torch module as Flax source."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from converters.porting.capture import captured
from converters.porting.emit import Emitter, channels_last, plain
from converters.porting.functions import FUNCTIONS
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


def written(
    module: torch.nn.Module, inputs: Sequence[Any], others: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, str]:
    """Returns the source of a module, and the name of its class.

    Args:
        module: In eval mode.
        inputs: As `forward` takes them.
        others: The same at other sizes.
        kwargs: Keywords of `forward`.
    """
    leaves, functions = frozenset(LAYERS), frozenset(FUNCTIONS)
    captured(module, inputs, kwargs, leaves, functions)  # fills what the module caches in its first call
    runs = [captured(module, each, kwargs, leaves, functions)[0] for each in (inputs, others)]
    scope = unified(*runs)
    orders = {
        value: channels_last(value.ndim) if value.ndim >= 4 else plain(value.ndim)
        for value in scope.inputs.values()
    }
    classes = Classes()
    root = classes.add(Emitter(scope, orders, FUNCTIONS, LAYERS).run())
    classes.decide()
    body = source(classes)
    used = [
        f"{inspect.getsource(function)}\n\n"
        for name, function in vars(helpers).items()
        if inspect.isfunction(function) and function.__module__ == helpers.__name__ and f"{name}(" in body
    ]
    return f"{HEAD}{''.join(used)}{body}\n", root.name
