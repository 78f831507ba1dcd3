"""Runs a torch module in float64 and reports every call of a layer."""

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax
import numpy as np

from converters.comparison.calls import Call, Event, double, leaves

Function = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], None]  # told of func, args, kwargs, result


def copied(model: Any) -> Any:
    """Returns a copy of a torch module in float64 and eval mode; the original is not touched.

    Everything in it has gradients, which tell what depends on what. The older weight_norm keeps a result of a
    computation in its layer, which torch refuses to copy.
    """
    torch = sys.modules["torch"]  # the caller has a torch module, so somebody has imported it
    results = {
        id(value): value.detach().clone()
        for layer in model.modules()
        for value in vars(layer).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    found = copy.deepcopy(model, results).cpu().double().eval()
    for parameter in found.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    return found


@dataclass(frozen=True, kw_only=True)
class TorchModel:
    """A copied torch module, and who is told what it does.

    Attributes:
        model: The copy.
        method: Name of the method to call.
        watched: The layers whose calls to tell.
        event: Told of every call of a watched layer.
        function: Told of every function of torch that is called: function, args, kwargs, result.
    """

    model: Any
    method: str
    watched: Sequence[Any]
    event: Event
    function: Function

    def run(self, inputs: Any) -> Any:
        """Calls the method with NumPy arrays; a mapping holds keyword arguments."""
        torch = sys.modules["torch"]
        tensors = jax.tree.map(lambda a: torch.from_numpy(a) if isinstance(a, np.ndarray) else a, inputs)
        args, kwargs = ((), tensors) if isinstance(tensors, Mapping) else (tensors, {})
        mode = type("Watch", (torch.overrides.TorchFunctionMode,), {"__torch_function__": self._watch()})
        # With gradients: without, torch's encoder layers take a path of their own past their layers.
        with self._hooks(), _default_dtype(torch), torch.enable_grad(), mode():
            return getattr(self.model, self.method)(*args, **kwargs)

    def _watch(self) -> Callable[..., Any]:
        def watch(mode: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            self.function(func, args, kwargs or {}, result)
            return result

        return watch

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        pending: dict[int, list[tuple[Sequence[Any], Sequence[np.ndarray]]]] = {}

        def before(layer: Any, args: Any, kwargs: Any) -> None:
            # At once, and as a copy: the layer may write over its inputs, the next one over its outputs.
            taken = list(islice(leaves((args, kwargs)), 1))
            pending.setdefault(id(layer), []).append((taken, list(map(double, taken))))

        def after(layer: Any, args: Any, kwargs: Any, result: Any) -> None:
            taken, inputs = pending[id(layer)].pop()
            given = list(leaves(result))
            call = Call(inputs=inputs, outputs=list(map(double, given)), taken=taken, given=given)
            self.event(layer, call)

        hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in self.watched]
        hooks += [layer.register_forward_hook(after, with_kwargs=True) for layer in self.watched]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class ReadTensors:
    """Tensors of a torch module that the functions of a run read."""

    def __init__(self, model: Any) -> None:
        self._names: dict[int, list[str]] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            self._names.setdefault(id(tensor), []).append(name)
        self.names: set[str] = set()

    def function(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Notes a function of torch that was called; asking for a tensor's shape does not count."""
        if getattr(func, "__name__", "") != "__get__":
            for tensor in leaves((tuple(args), kwargs)):
                self.names.update(self._names.get(id(tensor), ()))


@contextmanager
def _default_dtype(torch: Any) -> Iterator[None]:
    """Makes the tensors that a torch module creates on the way float64, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
