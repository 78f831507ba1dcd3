"""Runs a torch module in float64 and reports every call of a layer."""

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import jax
import numpy as np

from converters.comparison.calls import Call, Event, arrays


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
    """Makes the tensors that a torch module creates on the way float64, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
