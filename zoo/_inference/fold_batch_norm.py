"""Batch norms folded into the layers before them, for inference."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from converters.inspection import Path
from converters.linen import LayerCalls
from zoo._errors import ZooError
from zoo._inference.batch_norm_pairs import Pair, arguments, find, names
from zoo._loading.given import Given, model_of
from zoo._model import Model

ORIGINALS = "unfolded"  # the collection that keeps the arrays as they were

Flat: TypeAlias = dict[Path, Any]  # arrays by their paths, collection first


def fold_batch_norm(
    model: Given, *inputs: Any, kwargs: Mapping[str, Any] = MappingProxyType({}), partly: bool = False
) -> Model:
    """The model for inference: each batch norm scales the kernel of the layer before it and becomes its bias.

    Outputs are equal but for rounding. The layer before is found by tracing a call: the `nn.Conv`,
    `nn.ConvTranspose` or `nn.Dense` whose output goes into the batch norm and nowhere else. The folded model
    refuses to train, and any call in which that output goes elsewhere. Paths stay as they are. The collection
    `unfolded`, which no call reads, keeps the original arrays for `unfold_batch_norm`; calls work without.

    Args:
        model: Any model, or a name, as for `load`, whose weights are then loaded.
        inputs: Example arrays or `jax.ShapeDtypeStruct`s; by default those of the model's entry.
        kwargs: Keyword arguments of the traced call, for modules that need them for inference.
        partly: Leaves batch norms that cannot be folded as they are, instead of refusing.

    Raises:
        ZooError: batch norms that cannot be folded, each with the reason; or there are none at all.
    """
    model = model_of(model)
    module, variables = model
    if not inputs:
        inputs = tuple(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in _inputs(model))
    pairs, obstacles = find(module, variables, inputs, kwargs)
    if obstacles and not (pairs and partly):
        lines = "".join(f"\n  {'/'.join(path)} {text}" for path, text in obstacles.items())
        advice = "; partly=True leaves these as they are" if pairs else ""
        raise ZooError(f"{type(module).__name__} has batch norms that cannot be folded{advice}:{lines}")
    if not pairs:
        raise ZooError(f"{type(module).__name__} calls no batch norm; there is nothing to fold.")
    flat = flatten_dict(variables)
    owners = {path for pair in pairs for path in (pair.layer, pair.norm)}
    originals = {path: array for path, array in flat.items() if path[1:-1] in owners}
    folded = {path: array for path, array in flat.items() if path not in originals}
    for pair in pairs:
        folded |= _fold(pair, originals)
    folded |= {(ORIGINALS, *path): array for path, array in originals.items()}
    return Model(Folded(module, pairs), unflatten_dict(folded), model.entry, model.notes, model.origin)


def unfold_batch_norm(model: Model) -> Model:
    """The model that was folded, with the very arrays that it had.

    Raises:
        ZooError: it is not folded, or its collection `unfolded` is gone.
    """
    if not isinstance(model, Model):
        raise ZooError(f"found {type(model).__name__}, expected the model that zoo.fold_batch_norm gave.")
    module, variables = model
    if not isinstance(module, Folded) or ORIGINALS not in variables:
        held = ", ".join(sorted(variables))
        raise ZooError(
            f"{type(module).__name__} with {held} cannot be unfolded; "
            f"expected what zoo.fold_batch_norm gave, with its collection {ORIGINALS!r}."
        )
    originals = flatten_dict(variables[ORIGINALS])
    owners = {path[1:-1] for path in originals}
    rest = {path: array for path, array in flatten_dict(variables).items() if path[0] != ORIGINALS}
    kept = {path: array for path, array in rest.items() if path[1:-1] not in owners}
    return Model(module.original, unflatten_dict(kept | originals), model.entry, model.notes, model.origin)


def _inputs(model: Model) -> Any:
    if model.entry is None or not model.entry.inputs:
        raise ZooError(f"pass example inputs of {type(model.module).__name__}, or their shapes.")
    return model.entry.inputs


def _fold(pair: Pair, arrays: Flat) -> Flat:
    """The layer's arrays with the batch norm in them."""
    layer, norm, stats = ("params", *pair.layer), ("params", *pair.norm), ("batch_stats", *pair.norm)
    kernel, bias = _folded(
        arrays[*layer, "kernel"],
        arrays.get((*layer, "bias"), 0.0),
        arrays.get((*norm, "scale"), 1.0),
        arrays.get((*norm, "bias"), 0.0),
        arrays[*stats, "mean"],
        arrays[*stats, "var"],
        pair.epsilon,
        axis=pair.axis,
    )
    return {(*layer, "kernel"): kernel, (*layer, "bias"): bias}


@partial(jax.jit, static_argnames="axis")
def _folded(kernel: jax.Array, *vectors: Any, axis: int) -> tuple[jax.Array, jax.Array]:
    wide = jnp.promote_types(kernel.dtype, jnp.float32)
    bias, scale, shift, mean, var, epsilon = (jnp.asarray(vector, wide) for vector in vectors)
    gain = scale / jnp.sqrt(var + epsilon)
    factors = jnp.expand_dims(gain, [each for each in range(kernel.ndim) if each != axis % kernel.ndim])
    scaled = jnp.asarray(kernel, wide) * factors
    return scaled.astype(kernel.dtype), (shift + (bias - mean) * gain).astype(kernel.dtype)


class _Pending:
    """The output of a layer until the batch norm that is folded into it takes it; nothing else can use it."""

    def __init__(self, value: jax.Array, layer: Path) -> None:
        self.value, self.layer = value, layer


def _biased(layer: Any, out: jax.Array) -> jax.Array:
    """The output with the folded bias, where the layer has none to add itself."""
    if layer.use_bias:
        return out
    # The layer's scope makes the bias where the folded module is initialised.
    bias = layer.scope.param("bias", nn.initializers.zeros, (layer.features,), layer.param_dtype)
    return out + jnp.expand_dims(jnp.asarray(bias, out.dtype), range(out.ndim - 1))


class Folded(nn.Module):
    """A module in which layers take over what the batch norms behind them do in inference."""

    original: nn.Module
    pairs: tuple[Pair, ...]

    def setup(self) -> None:
        nn.share_scope(self, self.original)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the original's.

        Raises:
            ZooError: a folded batch norm trains, or does not take its layer's output.
        """
        by_layer = {pair.layer: pair for pair in self.pairs}
        by_norm = {pair.norm: pair for pair in self.pairs}
        depth, pending = len(names(self.scope)), set[Path]()

        def around(layer: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            path = names(layer.scope)[depth:]
            if path in by_layer:
                pending.add(path)
                return _Pending(_biased(layer, call(*args, **kwargs)), path)
            if path not in by_norm:
                return call(*args, **kwargs)
            x = arguments(layer, args, kwargs)["x"]
            if not isinstance(x, _Pending) or x.layer != by_norm[path].layer:
                raise ZooError(
                    f"{'/'.join(path)} is folded into {'/'.join(by_norm[path].layer)}, but takes {x}."
                )
            pending.discard(x.layer)
            return x.value

        with nn.intercept_methods(LayerCalls(around)):
            out = self.original(*args, **kwargs)
        if pending:
            layers = ", ".join("/".join(path) for path in pending)
            raise ZooError(
                f"a batch norm is folded into {layers}, but not called here; call the unfolded model."
            )
        return out
