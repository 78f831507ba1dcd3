"""Runs a linen module and reports every call of a layer: all that `compare` knows of linen."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import meta
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.extend import core

from converters.comparison.calls import Event
from converters.comparison.watch import Every, Recurrence, Watch
from converters.inspection import Inspection, Path
from converters.linen.calls import LayerCalls
from converters.linen.inspect import inspect_module
from converters.linen.target import check_variables


@dataclass(frozen=True)
class LinenRunner:
    """`Runner` for linen, whose methods it documents."""

    module: nn.Module
    rngs: Any
    method: Callable[..., Any] | str | None

    @property
    def name(self) -> str:
        return type(self.module).__name__

    def inspect(self, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Inspection:
        return inspect_module(self.module, *inputs, kwargs=kwargs, method=self.method)

    def values(self, variables: Any, inspection: Inspection) -> tuple[Mapping[Path, Any], tuple[str, ...]]:
        wanted = {array.path for array in inspection.arrays}
        given, unused = _used(variables, wanted) if self.method is not None else (variables, ())
        return check_variables(given, inspection, self.name), unused

    def _apply(self, arguments: Any) -> Any:
        variables, inputs, kwargs = arguments
        with nn.intercept_methods(_double_carries):
            return self.module.apply(variables, *inputs, rngs=self.rngs, method=self.method, **kwargs)

    def trace(self, arguments: Any) -> core.Jaxpr:
        leaves, tree = jax.tree.flatten(arguments)
        places = [index for index, leaf in enumerate(leaves) if hasattr(leaf, "shape")]

        def apply(arrays: Sequence[Any]) -> Any:
            found = dict(zip(places, arrays, strict=True))
            whole = [found.get(index, leaf) for index, leaf in enumerate(leaves)]
            return self._apply(jax.tree.unflatten(tree, whole))

        try:
            traced: core.ClosedJaxpr = jax.make_jaxpr(apply)([leaves[index] for index in places])
        except TypeError as error:
            if "carry" in str(error):
                error.add_note(
                    "compare runs the module in float64: let a loop start from a carry in the dtype of its "
                    "inputs, or give its cell param_dtype=jnp.float64"
                )
            raise
        return cast(core.Jaxpr, traced.jaxpr)

    def run(self, arguments: Any, watched: Container[Path], event: Event, every: Every) -> Any:
        watch = Watch(watched=watched, event=event, every=every, recurrence=recurrence)

        def around(layer: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            return watch.call(layer, layer.path, call, args, kwargs)

        # Without compilation, the layers inside nn.scan and nn.jit run one by one with numbers of their own.
        with jax.disable_jit(), nn.intercept_methods(LayerCalls(around)):
            return watch.output(jax.block_until_ready(self._apply(arguments)))

    def is_builtin(self, layer: Any) -> bool:
        own = (c for c in type(layer).__mro__ if c not in nn.Module.__mro__)
        return any(c.__module__.startswith("flax.linen.") for c in own)

    def is_dropout(self, layer: Any) -> bool:
        return isinstance(layer, nn.Dropout)

    def is_recurrent(self, layer: Any) -> bool:
        return isinstance(layer, nn.RNN | nn.Bidirectional)

    def dropout_rate(self, layer: Any) -> float:
        if isinstance(layer, nn.Dropout):
            return layer.rate
        return layer.dropout_rate if isinstance(layer, nn.MultiHeadDotProductAttention) else 0.0

    def has_biased_variance(self, layer: Any) -> bool:
        return isinstance(layer, nn.BatchNorm) and type(layer).__call__ is nn.BatchNorm.__call__


def _used(variables: Mapping[str, Any], wanted: set[Path]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Returns the variables that a method uses, and the names of the others."""
    flat: dict[Path, Any] = flatten_dict(meta.unbox(dict(variables)))
    used = {path: array for path, array in flat.items() if path in wanted}
    return unflatten_dict(used), tuple("/".join(path) for path in flat if path not in wanted)


def recurrence(layer: Any) -> Recurrence | None:
    """Returns which kind of recurrent layer one is, if any."""
    kinds: dict[type, Recurrence] = {nn.RNNCellBase: "cell", nn.RNN: "sequence", nn.Bidirectional: "both"}
    return next((kind for base, kind in kinds.items() if isinstance(layer, base)), None)


def _double_carries(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    """Lets recurrent layers start in float64: a cell makes its first carry in the dtype of its params."""
    layer = context.module
    if context.method_name == "__call__":
        if isinstance(layer, nn.RNN):
            start = layer.cell.initialize_carry
            # Of the instance that this call has; modules are frozen.
            object.__setattr__(layer.cell, "initialize_carry", lambda *a, **k: _widened(start(*a, **k)))
        elif isinstance(layer, nn.RNNCellBase) and args:
            args = (_widened(args[0]), *args[1:])
    return call(*args, **kwargs)


def _widened(carry: Any) -> Any:
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, carry
    )
