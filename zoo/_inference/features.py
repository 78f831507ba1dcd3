"""Outputs of the layers inside a model, and gradients with respect to them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, overload

import flax.linen as nn
import jax
import jax.numpy as jnp

from converters.linen import LayerCalls
from zoo._errors import ZooError
from zoo._inference.levels import maps_of_levels
from zoo._loading.given import Given, model_of
from zoo._model import Model
from zoo._variables.tree import flatten, matches, unflatten

CALL, CAPTURED = "__call__", "intermediates"
SHIFTS = "perturbations"  # Flax's own name for the collection, which loops over layers may know
Features = dict[str, Any]


@overload
def features(model: Given, *inputs: Any, layers: str | Sequence[str], **kwargs: Any) -> Features: ...
@overload
def features(
    model: Given, *inputs: Any, levels: int | Sequence[int], **kwargs: Any
) -> dict[int, jax.Array]: ...
def features(
    model: Given,
    *inputs: Any,
    layers: str | Sequence[str] | None = None,
    levels: int | Sequence[int] | None = None,
    **kwargs: Any,
) -> dict[Any, Any]:
    """Returns what is inside a model: the outputs of its layers, or maps of features by their size.

    With `layers`: path -> what the layer there gives, such as `layer4_1/conv2`; a tuple where it is called
    repeatedly. With `levels`: level -> map, (batch, rows, columns, channels). The maps are those of timm's
    `features_only`, and `model.module.levels` tells all that there are, each a reduction and a number of
    channels.

    Args:
        model: Any model, or a name, as for `load`, whose weights are then loaded.
        inputs: As the model takes them.
        layers: A regular expression for whole paths, or several: the names that `converters.compare` prints.
            An index may be left out: `layer4` means each block of the list `layer4`. What the blocks of a
            loop (scan=True) give is one array, with the blocks for its first axis.
        levels: By what the sides of an image are divided to give those of maps, such as (4, 8, 16, 32).
        kwargs: As the model takes them.

    Raises:
        ZooError: no layer has such a path, no map such a size, or both are given, or neither.
    """
    if (layers is None) == (levels is None):
        raise ZooError("expected layers=, paths such as 'layer4', or levels=, such as (4, 8, 16, 32).")
    if levels is not None:
        return maps_of_levels(model_of(model), inputs, levels, kwargs)
    return _captured(model_of(model), inputs, layers or (), kwargs)[1]


def feature_gradients(
    model: Given,
    objective: Callable[[Any], jax.Array],
    *inputs: Any,
    layers: str | Sequence[str],
    **kwargs: Any,
) -> tuple[Features, Features]:
    """Returns `features`, and the gradient of a number made of the model's output with respect to them.

    Args:
        model: As for `features`.
        objective: Makes a number of the output, such as one class's logit.
        inputs, layers, kwargs: As for `features`.

    Raises:
        ZooError: no layer has such a path, or the objective makes more than a number.
    """
    model = model_of(model)
    shapes = jax.eval_shape(lambda: features(model, *inputs, layers=layers, **kwargs))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def shifted(shifts: Features) -> tuple[jax.Array, Features]:
        output, found = _captured(model, inputs, layers, kwargs, shifts)
        number = objective(output)
        if jnp.shape(number):
            raise ZooError(f"the objective gave an array of shape {jnp.shape(number)}, expected one number.")
        return number, found

    gradients, found = jax.grad(shifted, has_aux=True)(zeros)
    return found, gradients


def _captured(
    model: Model,
    inputs: Sequence[Any],
    layers: str | Sequence[str],
    kwargs: Mapping[str, Any],
    shifts: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Any, Features]:
    """The model's output, and what the layers give with the shifts added to it."""
    layers = [layers] if isinstance(layers, str) else layers
    added = {
        f"{SHIFTS}/{path}/{CALL}": each if isinstance(each, tuple) else (each,)
        for path, each in shifts.items()
    }
    shifted = model.replace(variables=unflatten(flatten(model.variables) | added)) if added else model

    def run(wanted: Callable[[str], bool]) -> tuple[Any, Features]:
        calls = _Calls(wanted, shifts.keys())
        with nn.intercept_methods(calls.intercept):
            output, state = shifted(
                *inputs, capture_intermediates=calls.is_wanted, mutable=[CAPTURED], **kwargs
            )
        given = flatten(state.get(CAPTURED, {}))
        found = {path.removesuffix(CALL).removesuffix("/"): outputs for path, outputs in given.items()}
        return output, {path: outputs if outputs[1:] else outputs[0] for path, outputs in found.items()}

    output, found = run(lambda path: any(matches(layer, path) for layer in layers))
    unknown = [layer for layer in layers if not any(matches(layer, path) for path in found)]
    if unknown:
        every = jax.eval_shape(lambda: run(bool)[1])
        raise ZooError(f"no layer is {' or '.join(map(repr, unknown))}; there are {', '.join(every)}.")
    return output, found


class _Calls:
    """The outputs that are wanted, and the shifts that are added to them.

    An output is a layer's own, not that of the class that its class extends.
    """

    def __init__(self, wanted: Callable[[str], bool], shifted: Collection[str]) -> None:
        self._wanted = wanted
        self._shifted = shifted
        self.intercept = LayerCalls(self._shift)

    def is_wanted(self, module: nn.Module, method: str) -> bool:
        """Returns whether to keep the output of a call that has ended."""
        return method == CALL and not self.intercept.under_way(module) and self._wanted("/".join(module.path))

    def _shift(self, layer: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Adds the next shift of a layer to what its call gives."""
        output = call(*args, **kwargs)
        path = "/".join(layer.path)
        if path not in self._shifted:
            return output
        shifts = layer.get_variable(SHIFTS, CALL)
        if shifts is None:
            raise ZooError(f"{path!r} is in a loop whose variable_axes= lack {SHIFTS!r}; add it there.")
        # What earlier calls gave is kept already.
        return jax.tree.map(jnp.add, output, shifts[len(layer.get_variable(CAPTURED, CALL, ()))])
