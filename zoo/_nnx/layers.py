"""NNX's layers that compute the same as linen's, and what it lacks of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

import zoo._nn.layers as linen_layers
from zoo._nn.depthwise import convolution

Shapes = Mapping[str, tuple[int, ...]]


class BatchNorm(nnx.BatchNorm):
    """Batch norm that trains as PyTorch's, as `zoo.BatchNorm` in linen: its running variance is unbiased."""

    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Any input whose last axis is the channels -> the same shape.

        Raises:
            ZooError: training on one value a channel, which has no variance.
        """
        average = self.use_running_average if use_running_average is None else use_running_average
        before = self.var.get_value()
        out: jax.Array = super().__call__(x, average, mask=mask)
        if average:
            return out
        self.var.set_value(linen_layers.unbiased(self, before, self.var.get_value(), x, mask))
        return out


class Dropout(nnx.Dropout):
    """Dropout that is called as linen's, with `deterministic` in its place or by name."""

    def __call__(
        self,
        inputs: jax.Array,
        deterministic: bool | None = None,
        rng: jax.Array | None = None,
        *,
        rngs: Any = None,
    ) -> jax.Array:
        """Any input -> the same shape; `rng` is linen's word for `rngs`."""
        return super().__call__(inputs, deterministic=deterministic, rngs=rng if rngs is None else rngs)


class Twin(NamedTuple):
    """A layer of NNX that computes what one of linen does.

    Attributes:
        layer: Its class.
        sizes: Finds what NNX is told and linen sees in the inputs; None where the arrays do not say it.
        same: Fields of the same meaning in both.
    """

    layer: Any
    sizes: Callable[[Any, Shapes], dict[str, Any] | None]
    same: tuple[str, ...]


def _linear(layer: nn.Dense, shapes: Shapes) -> dict[str, Any]:
    return dict(zip(("in_features", "out_features"), shapes["kernel"], strict=True))


def _general(layer: nn.DenseGeneral, shapes: Shapes) -> dict[str, Any]:
    count = 1 if isinstance(layer.axis, int) else len(layer.axis)
    return {"in_features": shapes["kernel"][:count], "out_features": shapes["kernel"][count:]}


def _conv(layer: nn.Conv, shapes: Shapes) -> dict[str, Any] | None:
    *_, inputs, outputs = shapes["kernel"]
    sizes = {"in_features": inputs * layer.feature_group_count, "out_features": outputs}
    if layer.conv_general_dilated is None:
        return sizes
    # NNX passes further arguments, which a user's function may not take.
    ours = layer.conv_general_dilated is convolution
    return {**sizes, "conv_general_dilated": convolution} if ours else None


def _transpose(layer: nn.ConvTranspose, shapes: Shapes) -> dict[str, Any]:
    *_, inputs, outputs = shapes["kernel"]
    if layer.transpose_kernel:
        inputs, outputs = outputs, inputs
    return {"in_features": inputs, "out_features": outputs}


def _norm(layer: Any, shapes: Shapes) -> dict[str, Any] | None:
    found = next((shapes[name] for name in ("scale", "bias", "mean") if name in shapes), ())
    return {"num_features": found[0]} if len(found) == 1 else None


def _none(layer: Any, shapes: Shapes) -> dict[str, Any]:
    return {}


_COMMON = ("use_bias", "dtype", "param_dtype", "precision")
_NORM = ("epsilon", "dtype", "param_dtype", "use_bias", "use_scale", "axis_name", "axis_index_groups")
_STATISTICS = (*_NORM, "use_fast_variance")
_BATCH = (*_STATISTICS, "use_running_average", "axis", "momentum")
_CONV = ("kernel_size", "strides", "padding", "input_dilation", "kernel_dilation", "feature_group_count")
_SCALED = tuple(name for name in _STATISTICS if name != "use_bias")

TWINS: dict[type[nn.Module], Twin] = {
    nn.Dense: Twin(nnx.Linear, _linear, _COMMON),
    nn.DenseGeneral: Twin(nnx.LinearGeneral, _general, (*_COMMON, "axis")),
    nn.Conv: Twin(nnx.Conv, _conv, (*_COMMON, *_CONV, "mask")),
    nn.ConvTranspose: Twin(
        nnx.ConvTranspose,
        _transpose,
        (*_COMMON, *_CONV[:3], "kernel_dilation", "mask", "transpose_kernel", "preferred_element_type"),
    ),
    nn.Embed: Twin(nnx.Embed, _none, ("num_embeddings", "features", "dtype", "param_dtype")),
    nn.LayerNorm: Twin(nnx.LayerNorm, _norm, _STATISTICS),
    nn.RMSNorm: Twin(nnx.RMSNorm, _norm, _SCALED),
    nn.GroupNorm: Twin(nnx.GroupNorm, _norm, (*_STATISTICS, "num_groups", "group_size")),
    nn.BatchNorm: Twin(nnx.BatchNorm, _norm, _BATCH),
    linen_layers.BatchNorm: Twin(BatchNorm, _norm, _BATCH),
    nn.Dropout: Twin(Dropout, _none, ("rate", "broadcast_dims", "deterministic", "rng_collection")),
}


class _NoKeys:
    """Stands for random streams where nothing is initialized."""

    def params(self) -> None:
        """Returns no key."""


def twin(layer: nn.Module, arrays: Mapping[str, Any], rngs: nnx.Rngs) -> nnx.Module | None:
    """Returns the layer of NNX with these arrays that computes the same; None where NNX has none.

    Args:
        layer: A layer of linen.
        arrays: Its own arrays by name.
        rngs: Random streams, of which dropout takes its own.
    """
    kind: Any = type(layer)
    row = _row(kind)
    sizes = row and row.sizes(layer, {name: array.shape for name, array in arrays.items()})
    if row is None or sizes is None or not _is_plain(layer, (*row.same, "features", "conv_general_dilated")):
        return None
    options = {name: getattr(layer, name) for name in row.same}
    for mode in {"deterministic", "use_running_average"} & options.keys():
        options[mode] = True if options[mode] is None else options[mode]
    if "use_fast_variance" in row.same:
        options["promote_dtype"] = as_they_are
    takes = inspect.signature(row.layer.__init__).parameters
    empty = {name: _empty for name in takes if name.endswith("_init")}
    kept = rngs if isinstance(layer, nn.Dropout) and layer.rate else None
    keys = kept if isinstance(layer, nn.Dropout) else _NoKeys()
    made: nnx.Module = _named(kind, row.layer)(**sizes, **options, **empty, rngs=keys)
    for name, array in arrays.items():
        getattr(made, name).set_value(array)
    if isinstance(made, nnx.Embed):
        made.dtype = layer.dtype  # NNX would compute in the dtype that the array has now
    return made


def as_they_are(arrays: tuple[Any, ...], *, dtype: Any = None) -> tuple[Any, ...]:
    """Returns a norm's arrays, which NNX would round before it normalizes; linen rounds the result."""
    return arrays


def _empty(key: None, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Returns an array that takes no memory, in place of one that is set afterwards."""
    return np.broadcast_to(np.zeros((), dtype), shape)


@cache
def _row(kind: Any) -> Twin | None:
    """Returns the row of a class, or of one that it extends by nothing that runs."""
    for base in kind.__mro__:
        if base in TWINS:
            return TWINS[base]
        if any(isinstance(each, FunctionType) and _runs(name) for name, each in vars(base).items()):
            return None
    return None


def _runs(name: str) -> bool:
    """Returns whether a function of a class is its own, none that a dataclass has anyway."""
    return name == "__call__" or not (name.startswith("__") and name.endswith("__"))


def _is_plain(layer: nn.Module, carried: tuple[str, ...]) -> bool:
    """Returns whether all that NNX's layer is not told is as linen has it by default."""
    for each in fields(layer):
        known = each.name in (*carried, "parent", "name") or each.name.endswith("_init")
        if not known and (each.default is MISSING or getattr(layer, each.name) is not each.default):
            value = getattr(layer, each.name)
            if each.default is MISSING or type(value) is not type(each.default) or value != each.default:
                return False
    return True


@cache
def _named(kind: Any, layer: Any) -> Any:
    """Returns NNX's class; a subclass of it where linen's has a name or a row of tensors of its own."""
    if kind in TWINS:
        return layer
    row = {"torch_row": kind.__dict__["torch_row"]} if "torch_row" in vars(kind) else {}
    described = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (layer,), {**described, **row})
