"""Runs an NNX module and reports every call of a layer: all that `compare` knows of NNX."""

import functools
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest import mock

import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict
from jax.extend import core

from converters.comparison.calls import Event
from converters.comparison.watch import Every, Recurrence, Watch
from converters.inspection import Inspection, Path
from converters.nnx import NnxTarget, doubled, exact_attention
from converters.nnx.double import is_builtin
from converters.nnx.walk import walk

PATH = "converters_path"  # attribute of the layers of the copy that runs; transforms hand it on to theirs


@dataclass(frozen=True)
class NnxRunner:
    """`Runner` for NNX, whose methods it documents."""

    module: nnx.Module
    method: Callable[..., Any] | str | None

    @property
    def name(self) -> str:
        return type(self.module).__name__

    def inspect(self, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Inspection:
        return NnxTarget.of(self.module).inspections()[0]

    def values(self, variables: Any, inspection: Inspection) -> tuple[Mapping[Path, Any], tuple[str, ...]]:
        given = self.module if variables is None else variables
        return NnxTarget.of(self.module).values(given, inspection), ()

    def _copy(self, variables: Any) -> nnx.Module:
        """Returns a copy of the module with these arrays, whose layers know their paths."""
        copy = doubled(self.module, flatten_dict(variables).items())
        for path, layer in walk(copy).layers.items():
            if not hasattr(layer, PATH):
                setattr(layer, PATH, path)
        return copy

    def _apply(self, arguments: Any) -> Any:
        variables, *call = arguments
        # In a loop that is not compiled, NNX takes NumPy's arrays for objects that must stay the same.
        inputs, kwargs = jax.tree.map(lambda x: jnp.asarray(x) if hasattr(x, "shape") else x, call)
        copy: Any = self._copy(variables)
        if callable(self.method):
            return self.method(copy, *inputs, **kwargs)
        return getattr(copy, self.method or "__call__")(*inputs, **kwargs)

    def trace(self, arguments: Any) -> core.Jaxpr:
        leaves, tree = jax.tree.flatten(arguments)
        places = [index for index, leaf in enumerate(leaves) if hasattr(leaf, "shape")]

        def apply(arrays: Any) -> Any:
            found = dict(zip(places, arrays, strict=True))
            return self._apply(
                jax.tree.unflatten(tree, [found.get(index, leaf) for index, leaf in enumerate(leaves)])
            )

        with exact_attention():
            traced: core.ClosedJaxpr = jax.make_jaxpr(apply)([leaves[index] for index in places])
        return cast(core.Jaxpr, traced.jaxpr)

    def run(self, arguments: Any, watched: Container[Path], event: Event, every: Every) -> Any:
        watch = Watch(watched=watched, event=event, every=every, recurrence=recurrence)
        classes = {type(layer) for layer in walk(self.module).layers.values()}
        # Without compilation, layers inside nnx.scan and nnx.jit run one by one with numbers of their own.
        with jax.disable_jit(), exact_attention(), _watched(classes, watch):
            return watch.output(jax.block_until_ready(self._apply(arguments)))

    def is_builtin(self, layer: Any) -> bool:
        return is_builtin(layer)

    def is_dropout(self, layer: Any) -> bool:
        return isinstance(layer, nnx.Dropout)

    def is_recurrent(self, layer: Any) -> bool:
        return isinstance(layer, nnx.RNN | nnx.Bidirectional)

    def dropout_rate(self, layer: Any) -> float:
        if isinstance(layer, nnx.Dropout):
            return float(layer.rate)
        return float(layer.dropout_rate) if isinstance(layer, nnx.MultiHeadAttention) else 0.0

    def has_biased_variance(self, layer: Any) -> bool:
        return isinstance(layer, nnx.BatchNorm) and type(layer).__call__ is nnx.BatchNorm.__call__


def recurrence(layer: Any) -> Recurrence | None:
    """Returns which kind of recurrent layer one is, if any."""
    kinds: dict[type, Recurrence] = {
        nnx.nn.recurrent.RNNCellBase: "cell",
        nnx.RNN: "sequence",
        nnx.Bidirectional: "both",
    }
    return next((kind for base, kind in kinds.items() if isinstance(layer, base)), None)


@contextmanager
def _watched(classes: set[type], watch: Watch) -> Iterator[None]:
    """Lets the calls of instances of these classes be told while the block runs."""
    active: list[Any] = []

    def around(original: Any) -> Any:
        @functools.wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            path = getattr(layer, PATH, None)
            # The call of the class that a layer's class extends is no call of a layer.
            if path is None or any(each is layer for each in active):
                return original(layer, *args, **kwargs)
            active.append(layer)
            try:
                return watch.call(layer, path, functools.partial(original, layer), args, kwargs)
            finally:
                active.pop()

        return call

    # All are found before any is replaced, as others inherit it.
    calls = {kind: found for kind in classes if (found := _call(kind)) is not None}
    with ExitStack() as stack:
        for kind, original in calls.items():
            stack.enter_context(mock.patch.object(kind, "__call__", around(original)))
        yield


def _call(kind: type) -> Any:
    """Returns the function that a call of an instance runs; of the class itself NNX has another one."""
    return next((vars(base)["__call__"] for base in kind.__mro__ if "__call__" in vars(base)), None)
