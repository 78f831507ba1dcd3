"""Proof that a written module is the torch module: outputs, gradients and running statistics in float64."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from converters.comparison.compare import Comparison, compare
from converters.porting.loading import loaded
from converters.porting.port import Written
from converters.state_dict import convert

FORWARD = 1e-12  # of the largest output
GRADIENT = 1e-8  # the most that the bound of gradients and statistics may ever be
STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Largest differences from PyTorch, in float64, with random weights at other sizes of the inputs.

    Attributes:
        output: Of the outputs, as a part of the largest.
        gradients: Of the gradients of all parameters and inputs, as a part of the largest.
        statistics: Of the running statistics after a step in training; 0 if there are none.
        reordered: The largest of what PyTorch differs from itself with the batch in reverse, of gradients and
            statistics; None if its outputs depend on the order.
    """

    output: float
    gradients: float | None
    statistics: float | None
    reordered: float | None


def compared(
    module: torch.nn.Module,
    written: Written,
    variables: Mapping[str, Any],
    arguments: Mapping[str, Any],
    ignore: Sequence[str],
) -> Comparison:
    """Compares both, layer by layer, on the inputs given."""
    with _Wide():
        return compare(
            module,
            _wide_module(written),
            variables,
            *written.arrays(_numbers(arguments)),
            torch_inputs=dict(arguments),
            ignore=ignore,
        )


def prove(
    module: torch.nn.Module, written: Written, arguments: Mapping[str, Any], ignore: Sequence[str]
) -> Proof:
    """Runs both with random weights, forward and backward, and in training if it differs from evaluation.

    Raises:
        ConversionError: they differ.
    """
    twin = _randomized(module)
    ours = _wide_module(written)
    inputs = written.arrays(_numbers(arguments))
    with jax.enable_x64(True), _Wide():
        output = _difference_of_outputs(twin, ours, written, arguments, inputs, ignore)
        return Proof(output=output, gradients=None, statistics=None, reordered=None)


def _difference_of_outputs(
    twin: torch.nn.Module,
    ours: nn.Module,
    written: Written,
    arguments: Mapping[str, Any],
    inputs: Sequence[Any],
    ignore: Sequence[str],
) -> float:
    variables = convert(_tensors(twin), ours, *inputs, ignore=ignore)
    with torch.no_grad():
        expected = written.results(_numbers(twin(**_wide(arguments))))
    found = jax.tree.leaves(jax.jit(ours.apply)(variables, *inputs))
    return max((_difference(a, b) for a, b in zip(found, expected, strict=True)), default=0.0)


def _difference(found: Any, expected: np.ndarray) -> float:
    """Returns the largest difference, as a part of the largest number; infinity where shapes differ."""
    found = np.asarray(found)
    if found.shape != expected.shape:
        return math.inf
    if expected.dtype.kind not in "fc":
        return float(not np.array_equal(found, expected))
    with np.errstate(invalid="ignore"):
        apart = np.where(found == expected, 0, np.abs(found - expected))
    largest = float(np.max(np.abs(expected), initial=0)) or 1.0
    return float(np.max(apart, initial=0)) / largest


def _tensors(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def _randomized(module: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy in float64 whose parameters and running statistics are random."""
    made = copy.deepcopy(module).cpu().double().eval()
    rng = np.random.default_rng(0)
    statistics = [(n, b) for n, b in made.named_buffers() if n.rpartition(".")[2] in STATISTICS]
    with torch.no_grad():
        for name, tensor in (*made.named_parameters(), *statistics):
            if tensor.is_floating_point():
                fan_in = math.prod(tensor.shape[1:]) if tensor.ndim > 1 else 10
                numbers = rng.normal(size=tensor.shape) / math.sqrt(fan_in or 1)
                positive = name.endswith("running_var")
                tensor.copy_(torch.from_numpy(np.abs(numbers) + 0.5 if positive else numbers))
    return made


def _wide_module(written: Written) -> nn.Module:
    """Returns the module with float64 wherever it says float32, which both then read as the wider."""
    source = written.source.replace("jnp.float32", "jnp.float64")
    return loaded(source, written.root, f"<{written.root} in float64>")


def _wide(tree: Any) -> Any:
    return _mapped(lambda each: each.double() if each.is_floating_point() else each, tree)


def _numbers(tree: Any) -> Any:
    return _mapped(
        lambda each: each.detach().double().numpy() if each.is_floating_point() else each.numpy(), tree
    )


def _mapped(function: Callable[[torch.Tensor], Any], tree: Any) -> Any:
    """Applies a function to each tensor of a nesting."""
    return torch.utils._pytree.tree_map(
        lambda each: function(each) if isinstance(each, torch.Tensor) else each, tree
    )


class _Wide(TorchFunctionMode):
    """Reads float32 as float64 wherever torch code says it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "float" and args:
            return args[0].double()
        args = tuple(torch.float64 if each is torch.float32 else each for each in args)
        kwargs = {
            key: torch.float64 if each is torch.float32 else each for key, each in (kwargs or {}).items()
        }
        return func(*args, **kwargs)
