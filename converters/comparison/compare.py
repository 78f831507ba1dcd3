"""Compares a Flax model with the torch module that it should equal, layer by layer, in float64."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
from flax.traverse_util import unflatten_dict

from converters.comparison.align import Axes, pair_layers
from converters.comparison.audit import (
    TorchTensors,
    audit_arrays,
    audit_output,
    audit_settings,
    audit_training,
    fitted,
    unfit,
)
from converters.comparison.calls import double, doubles
from converters.comparison.functions import CallLog, differences, flax_functions, flax_layer, torch_function
from converters.comparison.match_calls import CallMatcher, Compared
from converters.comparison.reconcile import reconciled
from converters.comparison.report import Comparison, Finding, Row
from converters.comparison.run_linen import LinenRunner
from converters.comparison.run_torch import ReadTensors, TorchModel, copied
from converters.comparison.runner import Runner
from converters.errors import ConversionError
from converters.inspection import Inspection, Path
from converters.matching.rules import Rule
from converters.matching.search import NamesAndRules
from converters.state_dict import Method, is_nnx

if TYPE_CHECKING:
    from flax import nnx

__all__ = ["Comparison", "compare"]

TOLERANCE = 1e-12  # of a layer's largest output; float64 leaves three digits for sums in another order


def compare(
    torch_module: Any,
    module: "nn.Module | nnx.Module",
    variables: "Mapping[str, Any] | nnx.State[Any, Any] | None",
    *inputs: Any,
    torch_inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    rngs: Any = None,
    method: Method = None,
    torch_method: str = "__call__",
    names: NamesAndRules = (),
    rules: Sequence[Rule] = (),
    ignore: Sequence[str] = (),
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Runs both models on the same inputs in float64 and eval mode, and says where they differ.

    Layers are matched by their names, as `convert` matches tensors. For each call of a layer the outputs are
    compared, and the first inputs, which tell a wrong layer from a wrong function before it. Axes may be
    arranged otherwise, and a layer may do more or less than its namesake, where the numbers agree again
    after it. The audit compares what outputs may hide: all arrays with the torch module's own, the layers'
    settings, and the options of pooling, GELU and dropout wherever they are called. Layers that cannot be
    compared are named in the notes; the output still is.

    Args:
        torch_module: A torch.nn.Module; a copy of it is run, itself it stays as it is.
        module: The linen module, or an NNX module, a copy of which is run in eval mode.
        variables: All its collections; of an NNX module its state, or None, as it holds its own.
        inputs: For `module.apply`, or the NNX module.
        torch_inputs: For the torch module; a mapping holds keyword arguments. By default the Flax inputs,
            with the channels moved to the front in floating-point arrays of the rank that the torch
            module's convolutions take; as they are, where only so the models run or agree.
        kwargs: Keyword arguments for `module.apply` only, such as `train=False`.
        rngs: For `module.apply`.
        method: For `module.apply`; variables that it does not use may be there.
        torch_method: Name of the torch module's method; tensors that another method than `__call__` does not
            read may be left over.
        names: As for `convert`. Where they lack pairs, a draft of them is a finding, and is used.
        rules: As for `convert`.
        ignore: As for `convert`.
        tolerance: Relative difference up to which outputs agree.

    Raises:
        ConversionError: the variables do not fit the module, or a layer has no counterpart in PyTorch;
            other differences are in the result.
    """
    if not hasattr(torch_module, "named_modules"):
        raise ConversionError(f"compare takes the torch.nn.Module first, not a {type(torch_module).__name__}")
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves((inputs, torch_inputs))):
        raise ConversionError("compare runs both models: give arrays for inputs, not shapes")
    runner = _runner(module, rngs, method)
    inspection = runner.inspect(inputs, kwargs)
    found, unused = runner.values(variables, inspection)
    fit, pairs, findings = fitted(inspection, TorchTensors(torch_module), names, rules, ignore)
    exact, wrong = audit_arrays(fit, found)
    arrays = unflatten_dict({path: exact.get(path, double(array)) for path, array in found.items()})
    arguments = (arrays, *doubles((inputs, dict(kwargs))))
    copy, theirs = copied(torch_module), doubles(torch_inputs)
    axes = Axes.of(copy, arguments[1], jax.tree.leaves(theirs), tolerance=tolerance)
    twins = dict(copy.named_modules(remove_duplicate=False))
    models = _Models(
        runner=runner,
        inspection=inspection,
        arguments=arguments,
        copy=copy,
        method=torch_method,
        names=pair_layers(inspection, pairs, fit.prefix, twins.keys(), runner.is_recurrent),
        twins=twins,
        axes=axes,
    )
    run = _best(models, axes.torch_inputs(arguments[1]) if theirs is None else iter([theirs]))
    read = run.read.names if torch_method != "__call__" else None
    audit = [*findings, *unfit(fit, read), *wrong, *run.audit()]
    if unused:
        name = getattr(method, "__name__", method)
        audit.append(f"variables that {name} does not use: {', '.join(unused)}")
    return Comparison(
        rows=run.rows,
        output=run.output.row,
        findings=tuple(item for item in audit if isinstance(item, Finding)),
        notes=tuple(item for item in audit if isinstance(item, str)),
        tolerance=tolerance,
    )


def _runner(module: Any, rngs: Any, method: Method) -> Runner:
    if not is_nnx(module):
        return LinenRunner(module, rngs, method)
    from converters.comparison.run_nnx import NnxRunner

    return NnxRunner(module, method)


@dataclass(frozen=True, kw_only=True)
class _Models:
    """Both models, and which of their layers are one."""

    runner: Runner
    inspection: Inspection
    arguments: tuple[Any, tuple[Any, ...], dict[str, Any]]
    copy: Any
    method: str
    names: Mapping[Path, tuple[str, ...]]
    twins: Mapping[str, Any]
    axes: Axes

    def run(self, theirs: Any) -> "_Run":
        """Runs both in float64, PyTorch's first: on these inputs."""
        match = CallMatcher(self.runner, self.inspection.layers, self.names, self.twins, self.axes)
        ours, others, read = CallLog(), CallLog(), ReadTensors(self.copy)

        def function(*call: Any) -> None:
            torch_function(others, *call)
            read.function(*call)

        model = TorchModel(
            model=self.copy,
            method=self.method,
            watched=match.watched,
            event=match.torch_call,
            function=function,
        )
        with jax.enable_x64(True):
            expected = model.run(theirs)
            flax_functions(self.runner.trace(self.arguments), ours)
            every = partial(flax_layer, ours, self.runner)
            result = self.runner.run(self.arguments, self.names, match.flax_call, every)
            output = match.output(result, expected)
        rows = tuple(reconciled(match.compared, output, self.axes))
        return _Run(models=self, match=match, logs=(ours, others), read=read, rows=rows, output=output)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One run of both models."""

    models: _Models
    match: CallMatcher
    logs: tuple[CallLog, CallLog]
    read: ReadTensors
    rows: tuple[Row, ...]
    output: Compared

    @property
    def agrees(self) -> bool:
        """Returns whether the models' outputs agree."""
        found = self.output.row.output
        return found is not None and found.relative <= self.models.axes.tolerance

    def audit(self) -> Iterator[Finding | str]:
        """Yields what differs besides the outputs, and sentences about what was not compared."""
        tolerance, inspection = self.models.axes.tolerance, self.models.inspection
        yield from audit_output(self.output)
        if not self.rows and any(
            self.models.runner.is_builtin(layer) for layer in inspection.layers.values()
        ):
            yield Finding(layer="", setting="layers", flax="none was compared, only the output")
        yield from audit_settings(self.match.compared, self.rows, tolerance)
        yield from dict.fromkeys(self.match.hidden())
        yield from self.match.notes(self.rows, tolerance)
        yield from audit_training(inspection.layers, self.models.runner)
        lifted = any(array.lifts for array in inspection.arrays)
        # Functions are between layers, and show in the inputs of the next one.
        same = all(row.inputs is None or row.inputs.relative <= tolerance for row in self.rows)
        agree = self.agrees and same and all(not row.agrees_again for row in self.rows)
        yield from differences(*self.logs, lifted=lifted, agree=agree)


def _best(models: _Models, candidates: Iterator[Any]) -> _Run:
    """Runs both models on the first inputs for PyTorch with which they run and agree, else on the first."""
    first: _Run | None = None
    failure: Exception | None = None
    for theirs in candidates:
        try:
            run = models.run(theirs)
        except Exception as error:  # whatever a model raises that does not take its input
            failure = failure or error
            continue
        if run.agrees:
            return run
        first = first or run
    if first is None:
        assert failure is not None
        raise failure
    return first
