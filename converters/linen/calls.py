"""The calls of a linen module's layers, as `flax.linen.intercept_methods` shows them."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from flax.core import Scope

Around = Callable[[Any, Callable[..., Any], Any, Any], Any]


def in_tree(layer: nn.Module) -> bool:
    """Returns whether a module that is being called has a path; wrappers of lifted transforms have none."""
    return isinstance(layer.parent, nn.Module | Scope)


class LayerCalls:
    """An interceptor that sees each call of a layer once.

    Flax intercepts every method that runs: the wrappers of lifted transforms, `setup`, and once more the call
    of the class that a layer's class extends. These pass through; none of them is a call of a layer.
    """

    def __init__(self, around: Around) -> None:
        """Takes what happens around a call: of the layer, the call itself, args and kwargs, to its result."""
        self._around = around
        self._active: list[nn.Module] = []

    def under_way(self, layer: nn.Module) -> bool:
        """Returns whether a call of this layer has begun and not ended."""
        return any(each is layer for each in self._active)

    def __call__(
        self, call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
    ) -> Any:
        layer = context.module
        if context.method_name != "__call__" or not in_tree(layer) or self.under_way(layer):
            return call(*args, **kwargs)
        self._active.append(layer)
        try:
            return self._around(layer, call, args, kwargs)
        finally:
            self._active.pop()
