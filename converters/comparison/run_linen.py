"""Runs a linen module and reports every call of a layer: all that `compare` knows of linen."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from converters.comparison.calls import Call, Event, doubles
from converters.inspection import Inspection, Path
from converters.linen.calls import LayerCalls
from converters.linen.inspect import inspect_module


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

    def run(
        self, arguments: Any, watched: Container[Path], event: Event, every: Callable[[Any, Any], None]
    ) -> Any:
        recurrent: list[tuple[set[int], list[Any]]] = []

        def around(layer: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            every(layer, result)
            if isinstance(layer, RECURRENT):
                recurrent.append((set(map(id, _leaves(result))), _outputs(layer, result)))
            if layer.path not in watched:
                return result
            seen = list(islice(_inputs(layer, args, kwargs), 1)), _outputs(layer, result)
            if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(seen)):
                inputs, outputs = map(doubles, seen)
                event(layer.path, Call(inputs=inputs, outputs=outputs))
                return result
            return _told_later(event, layer.path, seen, result)

        # Without compilation, the layers inside nn.scan and nn.jit run one by one with numbers of their own.
        with jax.disable_jit(), nn.intercept_methods(LayerCalls(around)):
            output = jax.block_until_ready(self._apply(arguments))
        returned = set(map(id, _leaves(output)))
        return next((ordered for leaves, ordered in recurrent if leaves == returned), output)

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


RECURRENT = (nn.RNN, nn.Bidirectional, nn.RNNCellBase)


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


def _told_later(event: Event, path: Path, seen: Any, result: Any) -> Any:
    """Returns the result of a call inside nn.vmap or nn.remat, whose numbers come later, once for each layer.

    They are told as a part of the result: Flax traces the body of nn.scan first, and refuses effects as
    dependencies.
    """

    outputs = [*_leaves(result)]
    taken = seen, outputs
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), taken)

    def told(words: Any) -> Any:
        (inputs, ordered), _ = jax.tree.map(_from_words, words, shapes)
        event(path, Call(inputs=doubles(inputs), outputs=doubles(ordered)))
        return words[1]

    words = jax.tree.map(_words, taken)
    returned = jax.pure_callback(told, words[1], words, vmap_method="sequential")
    left = iter(
        jax.lax.bitcast_convert_type(word, leaf.dtype) if _is_wide(leaf) else word
        for word, leaf in zip(returned, outputs, strict=True)
    )
    return jax.tree.map(lambda leaf: next(left) if hasattr(leaf, "shape") else leaf, result)


def _words(array: jax.Array) -> jax.Array:
    """Splits numbers of 64 bits into words of 32: a callback may run in a thread whose JAX has no float64."""
    return jax.lax.bitcast_convert_type(array, jnp.uint32) if _is_wide(array) else array


def _from_words(words: Any, array: jax.ShapeDtypeStruct) -> Any:
    return np.asarray(words).view(array.dtype)[..., 0] if _is_wide(array) else words


def _is_wide(array: Any) -> bool:
    return array.dtype in (jnp.float64, jnp.int64, jnp.uint64)


def _leaves(value: Any) -> Iterator[Any]:
    return (leaf for leaf in jax.tree.leaves(value) if hasattr(leaf, "shape"))


def _inputs(layer: nn.Module, args: Any, kwargs: Any) -> Iterator[Any]:
    """Yields what a layer takes; a cell takes its carry first, PyTorch's last."""
    return _leaves((args[1:], kwargs) if isinstance(layer, nn.RNNCellBase) else (args, kwargs))


def _outputs(layer: nn.Module, result: Any) -> list[Any]:
    """Returns what a layer gives, in PyTorch's order: of a recurrent one the output, hidden and cell state.

    PyTorch keeps the states of all directions in one array; its cells give no output beside the hidden state.
    """
    if not isinstance(layer, RECURRENT) or not isinstance(result, tuple):
        return list(_leaves(result))
    carry, output = result
    if isinstance(layer, nn.RNNCellBase):
        return list(_states(carry))
    directions = carry if isinstance(layer, nn.Bidirectional) else (carry,)
    return [output, *(jnp.stack(each) for each in zip(*map(_states, directions), strict=True))]


def _states(carry: Any) -> tuple[Any, ...]:
    """Returns the hidden state, and an LSTM's cell state, which Flax puts before it."""
    return tuple(reversed(carry)) if isinstance(carry, tuple) else (carry,)
