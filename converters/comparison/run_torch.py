"""Runs a torch module and a linen module in float64 and tells of every call of a layer."""

import copy
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from itertools import islice
from typing import Any, cast

import flax.linen as nn
import jax
import numpy as np
from jax.extend import core

from converters.inspection import Path, in_tree
from converters.matching.arrays import as_numpy, kind

Event = Callable[[Any, "Call"], None]  # told of a layer, by its path or its torch module, and its call


@dataclass(frozen=True)
class Call:
    """The arrays that went into a layer and came out of it, as NumPy in float64."""

    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]


def double(value: Any) -> Any:
    """Floating-point arrays of either framework as new NumPy arrays in float64; other arrays as NumPy."""
    array = as_numpy(value)
    return array.astype(np.float64) if kind(array.dtype) == "float" else np.array(array)


def doubles(tree: Any) -> Any:
    """`double` for each array of a nested value; what is no array stays."""
    return jax.tree.map(lambda leaf: double(leaf) if hasattr(leaf, "shape") else leaf, tree)


def arrays(value: Any) -> Iterator[np.ndarray]:
    """The arrays of whatever a layer takes or returns, in order, in float64."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        yield double(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from arrays(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays(item)
    elif is_dataclass(value):
        yield from arrays(vars(value))


def copied(model: Any) -> Any:
    """A copy of a torch module in float64 and eval mode; the original is not touched.

    The older weight_norm keeps a result of a computation in its layer, which torch refuses to copy.
    """
    torch = sys.modules["torch"]  # the caller has a torch module, so somebody has imported it
    results = {
        id(value): value.detach().clone()
        for layer in model.modules()
        for value in vars(layer).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, results).cpu().double().eval()


def run_torch(
    model: Any, watched: Sequence[Any], inputs: Any, method: str, event: Event, function: Any
) -> Any:
    """Calls a copied torch module.

    Args:
        model: the copy.
        watched: the layers whose calls to tell.
        inputs: NumPy arrays; a mapping holds keyword arguments.
        method: the method to call.
        event: told of every call of a watched layer.
        function: told of every function of torch that is called: function, args, kwargs, result.
    """
    torch = sys.modules["torch"]
    pending: dict[int, list[list[np.ndarray]]] = {}

    def before(layer: Any, args: Any, kwargs: Any) -> None:
        # At once, and as a copy: the layer may write over its inputs, the next one over its outputs.
        pending.setdefault(id(layer), []).append(list(islice(arrays((args, kwargs)), 1)))

    def after(layer: Any, args: Any, kwargs: Any, result: Any) -> None:
        event(layer, Call(pending[id(layer)].pop(), list(arrays(result))))

    def watch(mode: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        function(func, args, kwargs or {}, result)
        return result

    for layer in watched:
        layer.register_forward_pre_hook(before, with_kwargs=True)
        layer.register_forward_hook(after, with_kwargs=True)
    tensors = jax.tree.map(lambda a: torch.from_numpy(a) if isinstance(a, np.ndarray) else a, inputs)
    args, kwargs = ((), tensors) if isinstance(tensors, Mapping) else (tensors, {})
    mode = type("Watch", (torch.overrides.TorchFunctionMode,), {"__torch_function__": watch})
    # With gradients: without, torch's encoder layers take a path of their own past their layers.
    with _default_dtype(torch), torch.enable_grad(), mode():
        return getattr(model, method)(*args, **kwargs)


@contextmanager
def _default_dtype(torch: Any) -> Iterator[None]:
    """What a torch module makes on the way is float64, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class FlaxModel:
    """A linen module and what to apply it to: variables, inputs and keyword arguments."""

    module: nn.Module
    method: Callable[..., Any] | str | None
    rngs: Any
    arguments: tuple[Any, tuple[Any, ...], dict[str, Any]]

    def _apply(self, arguments: Any) -> Any:
        variables, inputs, kwargs = arguments
        return self.module.apply(variables, *inputs, rngs=self.rngs, method=self.method, **kwargs)

    def trace(self) -> core.Jaxpr:
        """The whole model, of its arrays; what is no array is part of it."""
        leaves, tree = jax.tree.flatten(self.arguments)
        places = [index for index, leaf in enumerate(leaves) if hasattr(leaf, "shape")]

        def apply(arrays: Sequence[Any]) -> Any:
            found = dict(zip(places, arrays, strict=True))
            whole = [found.get(index, leaf) for index, leaf in enumerate(leaves)]
            return self._apply(jax.tree.unflatten(tree, whole))

        traced: core.ClosedJaxpr = jax.make_jaxpr(apply)([leaves[index] for index in places])
        return cast(core.Jaxpr, traced.jaxpr)

    def run(self, watched: Container[Path], event: Event, every: Callable[[nn.Module, Any], None]) -> Any:
        """Applies the module without compilation, so that every layer is seen.

        Args:
            watched: the paths of the layers whose calls to tell.
            event: told of every call of a watched layer.
            every: told of every call of any layer: the layer and its result.
        """

        def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            result = call(*args, **kwargs)
            layer = context.module
            if context.method_name != "__call__" or not in_tree(layer):
                return result
            every(layer, result)
            if layer.path not in watched:
                return result
            path, seen = layer.path, (list(islice(_leaves((args, kwargs)), 1)), _outputs(layer, result))
            if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(seen)):
                # Inside nn.vmap or nn.remat the numbers come later, once for each lifted layer.
                jax.debug.callback(lambda found: event(path, Call(*map(doubles, found))), seen)
            else:
                event(path, Call(*map(doubles, seen)))
            return result

        # Without compilation, the layers inside nn.scan and nn.jit run one by one with numbers of their own.
        with jax.disable_jit(), nn.intercept_methods(intercept):
            result = self._apply(self.arguments)
        jax.effects_barrier()
        return result


def _leaves(value: Any) -> Iterator[Any]:
    return (leaf for leaf in jax.tree.leaves(value) if hasattr(leaf, "shape"))


def _outputs(layer: nn.Module, result: Any) -> list[Any]:
    """A recurrent layer returns its carry first, PyTorch's last."""
    found = list(_leaves(result))
    return found[-1:] if isinstance(layer, nn.RNN | nn.Bidirectional) else found
