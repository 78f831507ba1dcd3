"""Compares a Flax model with the torch module that it should equal, layer by layer, in float64."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from converters._align import Axes, align
from converters._audit import TorchTensors, audit_arrays, audit_training
from converters._errors import ConversionError
from converters._functions import Functions, differences, flax_functions, torch_function
from converters._match import Match
from converters._report import Comparison, Finding, Row
from converters._runs import Call, arrays, copied, doubles, run_flax, run_torch
from converters.inspection import inspect
from converters.rules import Rule
from converters.state_dict import Method, NamesAndRules, best_fit, checked

__all__ = ["Comparison", "compare"]

LOW = (jnp.float32, jnp.float16, jnp.bfloat16)
TOLERANCE = 1e-12  # of a layer's largest output; float64 leaves three digits for sums in another order


def compare(
    torch_module: Any,
    module: nn.Module,
    variables: Mapping[str, Any],
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
    compared, and the first inputs, which tell a wrong layer from a wrong function before it. Channels are
    moved where they come from a convolution. The audit compares what outputs may hide: all arrays with the
    torch module's own, the layers' settings, and the options of pooling, GELU and dropout wherever they
    are called.

    Args:
        torch_module: a torch.nn.Module; a copy of it is run, itself it stays as it is.
        module: the linen module.
        variables: all its collections.
        inputs: for `module.apply`.
        torch_inputs: for the torch module; a mapping holds keyword arguments. By default the Flax inputs,
            with the channels moved to the front in floating-point arrays of the rank that the torch
            module's convolutions take.
        kwargs: keyword arguments for `module.apply` only, such as `train=False`.
        rngs: for `module.apply`.
        method: for `module.apply`.
        torch_method: the name of the torch module's method.
        names: as for `convert`.
        rules: as for `convert`.
        ignore: as for `convert`.
        tolerance: the relative difference up to which outputs agree.

    Raises:
        ConversionError: the variables do not fit the module, or a layer has no counterpart in PyTorch;
            other differences are in the result.
    """
    if not hasattr(torch_module, "named_modules"):
        raise ConversionError(f"compare takes the torch.nn.Module first, not a {type(torch_module).__name__}")
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves((inputs, torch_inputs))):
        raise ConversionError("compare runs both models: give arrays for inputs, not shapes")
    inspection = inspect(module, *inputs, kwargs=kwargs, method=method)
    found = checked(variables, inspection, type(module).__name__)
    fit = best_fit(inspection, TorchTensors(torch_module), names, rules, ignore)
    copy = copied(torch_module)
    twins = dict(copy.named_modules(remove_duplicate=False))
    pairs = [name for name in names if isinstance(name, tuple)]
    aligned = align(inspection, pairs, fit.prefix, twins.keys())
    match = Match(inspection.layers, aligned, twins, Axes.of(copy))
    run = _Run(module, method, rngs)
    torch_functions = Functions()
    with jax.enable_x64(True):
        args = doubles((inputs, dict(kwargs)))
        theirs = match.axes.torch_inputs(args[0]) if torch_inputs is None else doubles(torch_inputs)
        expected = run_torch(
            copy,
            match.watched,
            theirs,
            torch_method,
            match.torch_call,
            partial(torch_function, torch_functions),
        )
        result = run(match, doubles(variables), *args)
        output, counts = _output(match, result, expected)
    lifted = any(array.lifts for array in inspection.arrays)
    rates = not any(finding.setting.endswith("rate") for finding in match.findings)
    other = [
        *audit_arrays(fit, found),
        *match.findings,
        *run.findings,
        *audit_training(inspection.layers),
        *differences(run.functions, torch_functions, lifted=lifted, rates=rates),
    ]
    comparison = Comparison(tuple(match.rows), output, (), (), tolerance)
    notes = [*counts, *match.notes(comparison.first_divergence is not None)]
    return Comparison(
        tuple(match.rows),
        output,
        tuple(item for item in other if isinstance(item, Finding)),
        (*notes, *(item for item in other if isinstance(item, str))),
        tolerance,
    )


@dataclass
class _Run:
    """One run of the Flax model and what it shows besides its layers' outputs."""

    module: nn.Module
    method: Method
    rngs: Any
    functions: Functions = field(default_factory=Functions)
    findings: list[Finding] = field(default_factory=list)

    def __call__(self, match: Match, variables: Any, inputs: Any, kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((variables, inputs, kwargs))
        is_array = [hasattr(leaf, "shape") for leaf in leaves]

        def apply(arrays: Sequence[Any]) -> Any:
            each = iter(arrays)
            whole = [next(each) if array else leaf for leaf, array in zip(leaves, is_array, strict=True)]
            variables, inputs, kwargs = jax.tree.unflatten(tree, whole)
            return self.module.apply(variables, *inputs, rngs=self.rngs, method=self.method, **kwargs)

        values = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]
        flax_functions(jax.make_jaxpr(apply)(values).jaxpr, self.functions)
        return run_flax(lambda: apply(values), match.names, match.flax_call, self._called)

    def _called(self, layer: nn.Module, result: Any) -> None:
        rate = getattr(layer, "rate" if isinstance(layer, nn.Dropout) else "dropout_rate", 0.0)
        if isinstance(layer, nn.Dropout | nn.MultiHeadDotProductAttention) and rate:
            self.functions.dropouts.append(float(rate))
        low = [leaf.dtype for leaf in jax.tree.leaves(result) if getattr(leaf, "dtype", None) in LOW]
        if low and not self.findings:
            name = "/".join(layer.path)
            self.findings.append(Finding(name, "the dtype of its output", str(low[0]), "float64"))


def _output(match: Match, flax: Any, torch: Any) -> tuple[Row, list[str]]:
    """The whole models' outputs: those of the same keys, or in order."""
    if isinstance(flax, Mapping) and isinstance(torch, Mapping) and flax.keys() & torch.keys():
        flax, torch = ({key: side[key] for key in torch if key in flax} for side in (flax, torch))
        flax = list(flax.values())
    mine, theirs = list(arrays(jax.tree.leaves(flax))), list(arrays(torch))
    counts = [f"outputs: {len(mine)} here, {len(theirs)} in PyTorch; the first ones were compared"]
    row = match.row("", "", Call((), mine), Call((), theirs), None, None)
    return row, counts if len(mine) != len(theirs) else []
