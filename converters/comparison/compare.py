"""Compares a Flax model with the torch module that it should equal, layer by layer, in float64."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax

from converters.comparison.align import Axes, pair_layers
from converters.comparison.audit import TorchTensors, audit_arrays, audit_training
from converters.comparison.calls import doubles
from converters.comparison.functions import CallLog, differences, flax_functions, flax_layer, torch_function
from converters.comparison.match_calls import CallMatcher
from converters.comparison.report import Comparison, Finding
from converters.comparison.run_linen import FlaxModel
from converters.comparison.run_torch import copied, run_torch
from converters.errors import ConversionError
from converters.linen.inspect import inspect_module
from converters.matching.rules import Rule
from converters.matching.search import NamesAndRules, best_fit
from converters.state_dict import Method, check_variables

__all__ = ["Comparison", "compare"]

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
    inspection = inspect_module(module, *inputs, kwargs=kwargs, method=method)
    found = check_variables(variables, inspection, type(module).__name__)
    fit = best_fit(inspection, TorchTensors(torch_module), names, rules, ignore)
    copy = copied(torch_module)
    given, theirs = doubles((variables, inputs, dict(kwargs))), doubles(torch_inputs)
    axes = Axes.of(copy, given[1], jax.tree.leaves(theirs))
    twins = dict(copy.named_modules(remove_duplicate=False))
    pairs = [name for name in names if isinstance(name, tuple)]
    match = CallMatcher(
        inspection.layers, pair_layers(inspection, pairs, fit.prefix, twins.keys()), twins, axes
    )
    ours, others = CallLog(), CallLog()
    with jax.enable_x64(True):
        theirs = axes.torch_inputs(given[1]) if theirs is None else theirs
        seen = partial(torch_function, others)
        expected = run_torch(copy, match.watched, theirs, torch_method, match.torch_call, seen)
        model = FlaxModel(module, method, rngs, given)
        flax_functions(model.trace(), ours)
        result = model.run(match.names, match.flax_call, partial(flax_layer, ours))
        output = match.output(result, expected)
    audit = [
        *audit_arrays(fit, found),
        *match.findings,
        *audit_training(inspection.layers),
        *differences(ours, others, lifted=any(array.lifts for array in inspection.arrays)),
    ]
    findings = tuple(item for item in audit if isinstance(item, Finding))
    notes = tuple(item for item in audit if isinstance(item, str))
    return Comparison(match.rows, output, findings, (*match.notes(tolerance), *notes), tolerance)
