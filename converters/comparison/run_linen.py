"""Runs a linen module and reports every call of a layer."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import flax.linen as nn
import jax
from jax.extend import core

from converters.comparison.calls import Call, Event, doubles
from converters.inspection import Path
from converters.linen.inspect import is_layer_call


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
            if not is_layer_call(context):
                return result
            every(layer, result)
            if layer.path not in watched:
                return result
            path, seen = layer.path, (list(islice(_leaves((args, kwargs)), 1)), _outputs(layer, result))
            if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(seen)):
                # Inside nn.vmap or nn.remat the numbers come later, once for each lifted layer. As a part of
                # the result: Flax traces the body of nn.scan first, and refuses effects as dependencies.
                def told(found: Any, outputs: Any) -> Any:
                    event(path, Call(*map(doubles, found)))
                    return outputs

                outputs = list(_leaves(result))
                shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in outputs]
                outputs = jax.pure_callback(told, shapes, seen, outputs, vmap_method="sequential")
                left = iter(outputs)
                result = jax.tree.map(lambda leaf: next(left) if hasattr(leaf, "shape") else leaf, result)
            else:
                event(path, Call(*map(doubles, seen)))
            return result

        # Without compilation, the layers inside nn.scan and nn.jit run one by one with numbers of their own.
        with jax.disable_jit(), nn.intercept_methods(intercept):
            return jax.block_until_ready(self._apply(self.arguments))


def _leaves(value: Any) -> Iterator[Any]:
    return (leaf for leaf in jax.tree.leaves(value) if hasattr(leaf, "shape"))


def _outputs(layer: nn.Module, result: Any) -> list[Any]:
    """A recurrent layer returns its carry first, PyTorch's last."""
    found = list(_leaves(result))
    return found[-1:] if isinstance(layer, nn.RNN | nn.Bidirectional) else found
