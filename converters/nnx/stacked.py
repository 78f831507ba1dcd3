"""Finds the axes that `nnx.vmap` adds to the arrays of the modules that it makes."""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from converters.errors import ConversionError
from converters.inspection import Lift, Path
from converters.layers import Shape


def _dense(layer: Any) -> dict[str, Shape]:
    return {"kernel": (layer.in_features, layer.out_features), "bias": (layer.out_features,)}


def _convolution(layer: Any) -> dict[str, Shape]:
    return {"kernel": tuple(layer.kernel_shape), "bias": (layer.out_features,)}


def _general(layer: nnx.LinearGeneral) -> dict[str, Shape]:
    batch = tuple(dict(layer.batch_axis).values())
    return {
        "kernel": (*batch, *layer.in_features, *layer.out_features),
        "bias": (*batch, *layer.out_features),
    }


def _norm(layer: Any) -> dict[str, Shape]:
    shape = (layer.num_features,)
    return dict.fromkeys(("scale", "bias", "mean", "var"), shape)


def _matrices(layer: nnx.LoRA) -> dict[str, Shape]:
    rank = layer.lora_b.shape[-2]
    return {"lora_a": (layer.in_features, rank), "lora_b": (rank, layer.out_features)}


def _einsum(layer: nnx.Einsum) -> dict[str, Shape]:
    return {"kernel": tuple(layer.kernel_shape), "bias": tuple(layer.bias_shape or ())}


# The shapes that layers' settings say; what an array has more was added to it.
SHAPES: dict[type, Any] = {
    nnx.Linear: _dense,
    nnx.LoRA: _matrices,
    nnx.LinearGeneral: _general,
    nnx.Einsum: _einsum,
    nnx.Conv: _convolution,
    nnx.ConvTranspose: _convolution,
    nnx.Embed: lambda layer: {"embedding": (layer.num_embeddings, layer.features)},
    nnx.BatchNorm: _norm,
    nnx.LayerNorm: _norm,
    nnx.RMSNorm: _norm,
    nnx.InstanceNorm: _norm,
    nnx.PReLU: lambda layer: {"negative_slope": ()},
}


def lifts(
    layers: Mapping[Path, Any], shapes: Mapping[Path, Shape], *, innermost: bool = False
) -> dict[Path, tuple[Lift, ...]]:
    """Returns the added axes of each array that has some, outermost first.

    The module that was stacked is the outermost below the root of which all arrays have the axis.

    Args:
        layers: Modules by path.
        shapes: Shapes of the arrays by path, the collection first.
        innermost: If true, it is the innermost with the same arrays as the outermost.
    """
    added = {path: _added(layers, path, shape) for path, shape in shapes.items()}
    known = {path: axes for path, axes in added.items() if axes is not None}
    if not any(known.values()):
        return {}
    found: dict[Path, tuple[Lift, ...]] = {}
    for path, shape in shapes.items():
        made: list[Lift] = []
        left = list(shape)
        axes = [*(added[path] or ())]
        for count in range(1, len(path)):
            depth = _depth(known, path, count, innermost=innermost)
            if depth is None:
                break
            axis = axes[count - 1] if added[path] is not None else 0
            if axis >= len(left):
                raise ConversionError(f"{'/'.join(path)} lacks an axis that others beside it have: {shape}")
            made.append(Lift(depth, axis, left.pop(axis)))
        if made:
            found[path] = tuple(made)
    return found


def _depth(known: Mapping[Path, Shape], path: Path, count: int, *, innermost: bool) -> int | None:
    """Returns the depth of the module that was stacked for the count-th time; None if there is none."""
    chosen: int | None = None
    chosen_arrays: set[Path] = set()
    for depth in range(1, len(path) - 1):
        below = {each for each in known if each[1 : depth + 1] == path[1 : depth + 1]}
        if not below or any(len(known[each]) < count for each in below):
            continue
        if chosen is None:
            chosen, chosen_arrays = depth, below
        elif innermost and below == chosen_arrays:
            chosen = depth
    return chosen


def _added(layers: Mapping[Path, Any], path: Path, shape: Shape) -> tuple[int, ...] | None:
    """Returns the axes that an array has beyond its layer's settings; None if these say no shape."""
    layer = layers.get(path[1:-1])
    row = next((SHAPES[kind] for kind in type(layer).__mro__ if kind in SHAPES), None)
    own = row(layer).get(path[-1]) if row is not None else None
    if own is None:
        return None
    if len(shape) == len(own) + 1:
        places = [axis for axis in range(len(shape)) if (*shape[:axis], *shape[axis + 1 :]) == own]
        return (places[0],) if places else (0,)
    return (0,) * max(len(shape) - len(own), 0)
