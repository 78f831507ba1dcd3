"""Proof that a written module is the torch module: outputs, gradients and running statistics in float64."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import torch

from converters.comparison.compare import Comparison, compare
from converters.errors import ConversionError
from converters.porting.doubling import (
    QUICK,
    certain,
    certain_torch,
    doubled,
    mapped,
    numbers,
    randomized,
    wide,
    wide_module,
)
from converters.porting.gradients import Step, flax_step, torch_step
from converters.porting.port import Written, call
from converters.porting.running import runtime

FORWARD = 1e-12  # of the largest output
BACKWARD = 1e-8  # the most that the bound of gradients and statistics may ever be


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Largest differences from PyTorch, in float64, with random weights at other sizes of the inputs.

    Attributes:
        output: Of the outputs in eval mode, as a part of the largest number.
        gradients: Of the gradients of parameters and inputs, in training if it differs from eval mode, as a
            part of the largest of the whole model.
        statistics: Of the running statistics after a step in training; 0 if there are none.
        reordered: Difference of PyTorch from itself with the batch in reverse, of gradients and statistics; 0
            if the outputs depend on its order.
    """

    output: float
    gradients: float
    statistics: float
    reordered: float


def compared(
    module: torch.nn.Module,
    written: Written,
    variables: Any,
    arguments: Mapping[str, Any],
    ignore: Sequence[str],
) -> Comparison:
    """Compares both, layer by layer, on the inputs given."""
    args, kwargs = call(module, arguments)
    inputs = written.arrays(numbers(arguments))
    theirs = {**dict(zip(arguments, args, strict=False)), **kwargs} if kwargs else args
    with certain_torch(), certain(runtime(written.dialect)):
        return compare(module, wide_module(written), variables, *inputs, torch_inputs=theirs, ignore=ignore)


def prove(
    module: torch.nn.Module, written: Written, arguments: Mapping[str, Any], ignore: Sequence[str]
) -> Proof:
    """Runs both with random weights, forward and backward, and in training if it differs from eval mode.

    Raises:
        ConversionError: they differ.
    """
    twin, ours, variables, output = proven_output(module, written, arguments, ignore)
    with jax.enable_x64(True):
        return _backward(twin, ours, written, variables, arguments, ignore, output=output)


def proven_output(
    module: torch.nn.Module, written: Written, arguments: Mapping[str, Any], ignore: Sequence[str]
) -> tuple[torch.nn.Module, Any, Any, float]:
    """Runs both with random weights, forward.

    Returns:
        Both in float64, the variables, and the largest difference of outputs.

    Raises:
        ConversionError: they differ.
    """
    twin, expected = _twin(module, written, arguments)
    ours, run = wide_module(written), runtime(written.dialect)
    inputs = written.arrays(numbers(wide(dict(arguments))))
    with jax.enable_x64(True):
        variables = run.variables(written.tensors(twin), ours, inputs, ignore)
        with certain(run):
            compiled = jax.jit(partial(run.run, ours), compiler_options=QUICK)
            found = written.returned(compiled(variables, inputs))
    output = max((difference(a, b) for a, b in zip(found, expected, strict=True)), default=0.0)
    if not output <= FORWARD:
        raise ConversionError(
            f"the written module is not the same at other sizes of the inputs: its output differs by "
            f"{output:.1e} of the largest number in float64"
        )
    return twin, ours, variables, output


def _twin(
    module: torch.nn.Module, written: Written, arguments: Mapping[str, Any]
) -> tuple[torch.nn.Module, list[np.ndarray]]:
    """Returns a copy of the module in float64, and its outputs: with random weights, if they stay finite."""
    for make in (randomized, doubled):
        twin = make(module)
        found = written.returned(run_wide(twin, written, arguments))
        if all(np.isfinite(each).all() and each.any() for each in found):
            break
    return twin, found


def run_wide(twin: torch.nn.Module, written: Written, arguments: Mapping[str, Any]) -> Any:
    """Returns the output of a module in float64, as the written module has it."""
    args, kwargs = call(twin, wide(dict(arguments)))
    with certain_torch(), torch.no_grad():
        return written.nested(numbers(twin(*args, **kwargs)))


def _backward(
    twin: torch.nn.Module,
    ours: Any,
    written: Written,
    variables: Any,
    arguments: Mapping[str, Any],
    ignore: Sequence[str],
    *,
    output: float,
) -> Proof:
    theirs = torch_step(twin, written, arguments)
    mine = flax_step(ours, written, variables, arguments, theirs.cotangents, ignore)
    again = _reordered(twin, written, arguments, theirs)
    itself = max(apart for apart, _ in _apart(again, theirs).values())
    read = {n: each for n, each in theirs.statistics.items() if not any(re.fullmatch(e, n) for e in ignore)}
    found = _apart(mine, replace(theirs, statistics=read))
    for what, (apart, where) in found.items():
        if not apart <= min(max(FORWARD, 10 * itself), BACKWARD):
            mode = " in training" if written.uses_train else ""
            raise ConversionError(
                f"the written module is not the same{mode}: its {what} differ by {apart:.1e} of the largest "
                f"number in float64, the most for {where}; PyTorch differs from itself by {itself:.1e}"
            )
    gradients, statistics = found["gradients"][0], found["running statistics"][0]
    return Proof(output=output, gradients=gradients, statistics=statistics, reordered=itself)


def _apart(mine: Step, theirs: Step) -> dict[str, tuple[float, str]]:
    """Returns the largest difference of each kind of numbers, and where it is."""
    trained = {f"output {i}": each for i, each in enumerate(theirs.outputs)}
    return {
        "outputs": _furthest({f"output {i}": each for i, each in enumerate(mine.outputs)}, trained),
        "gradients": _furthest(mine.gradients, theirs.gradients),
        "running statistics": _furthest(mine.statistics, theirs.statistics),
    }


def _reordered(
    twin: torch.nn.Module,
    written: Written,
    arguments: Mapping[str, Any],
    first: Step,
) -> Step:
    """Returns the same step of PyTorch with the batch in reverse, or the same again if it is no batch."""
    sizes = [each.shape[0] for each in torch.utils._pytree.tree_leaves(dict(arguments)) if _has_axes(each)]

    def flipped(each: Any) -> Any:
        return np.flip(each, 0).copy() if each.ndim and each.shape[0] == sizes[0] else each

    given = mapped(lambda each: torch.from_numpy(flipped(each.numpy())), dict(arguments))
    made = torch_step(twin, written, given, [flipped(each) for each in first.cotangents])
    apart = [difference(flipped(a), b) for a, b in zip(made.outputs, first.outputs, strict=True)]
    if max(apart, default=0.0) > BACKWARD:
        return first
    gradients = {n: flipped(each) if n.startswith("input ") else each for n, each in made.gradients.items()}
    return Step(outputs=first.outputs, gradients=gradients, statistics=made.statistics)


def _has_axes(each: Any) -> bool:
    return isinstance(each, torch.Tensor) and each.ndim > 0


def _furthest(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """Returns the largest difference, as a part of the largest number of all, and where it is."""
    names = [name for name in expected if _is_comparable(name)]
    largest = max((float(np.abs(expected[name]).max(initial=0)) for name in names), default=0.0)
    apart = {name: difference(found.get(name), expected[name], largest) for name in names}
    where = max(names, key=apart.__getitem__, default="")
    return apart.get(where, 0.0), where


def _is_comparable(name: str) -> bool:
    """Returns whether Flax has a gradient of its own for a parameter.

    Of the two biases of a recurrent layer it has one's; of what weights are computed from, the weights'.
    """
    return "bias_hh" not in name and "parametrizations." not in name and not name.endswith(("_g", "_v"))


def difference(found: Any, expected: np.ndarray, largest: float | None = None) -> float:
    """Returns the largest difference, as a part of the largest number.

    It is infinite where there is nothing to compare, or an array of another shape.
    """
    if found is None and not expected.any():
        return 0.0
    found = np.asarray(found)
    if found.shape != expected.shape or found.dtype.kind != expected.dtype.kind:
        return math.inf
    if expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(found, expected) else math.inf
    with np.errstate(invalid="ignore"):
        apart = np.where(found == expected, 0, np.abs(found - expected))
    scale = float(np.max(np.abs(expected), initial=0)) if largest is None else largest
    return float(np.max(apart, initial=0)) / (scale or 1.0)
