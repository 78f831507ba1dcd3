"""Rows of the layers that linen and NNX have alike; each framework's table says under which class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from converters.errors import ConversionError
from converters.layers import (
    AFFINE,
    BIASES,
    KERNEL,
    TWO_BIASES,
    Leaf,
    Named,
    Row,
    RowFunction,
    Shape,
    flat,
    flipped,
    gates,
    halves,
    prefixed,
    projection,
)

WITH_KERNEL: Row = {"kernel": KERNEL, "bias": Leaf("bias")}
EMBED: Row = {"embedding": Leaf("weight")}
BATCH_NORM: Row = {**AFFINE, "mean": Leaf("running_mean"), "var": Leaf("running_var")}
PRELU: Row = {
    "negative_slope": Leaf(
        "weight",
        lambda w: w.reshape(()),
        lambda s: s.reshape(1),
        advice="flax's PReLU has one slope; a layer with a parameter 'weight' of its own can have several",
    )
}


def conv_transpose(layer: Any, shapes: Mapping[str, Shape]) -> Row:
    """PyTorch keeps (in, out, *spatial) and runs the gradient of a convolution.

    With `transpose_kernel=True` Flax does the same and keeps (*spatial, out, in). Without, it runs a
    convolution over the dilated input: the same numbers once the spatial axes are flipped.
    """
    leaf = Leaf(
        "weight",
        lambda weight: flipped(np.moveaxis(weight, (0, 1), (-2, -1)), 0),
        lambda kernel: np.moveaxis(flipped(kernel, 0), (-2, -1), (0, 1)),
    )
    return {"kernel": KERNEL if layer.transpose_kernel else leaf, "bias": Leaf("bias")}


def attention(layer: Any, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """torch.nn.MultiheadAttention, packed or with separate projections, or three layers and `out`.

    PyTorch packs the three projections where they have the same shape.
    """
    parts = ("query", "key", "value")
    kernels = tuple(f"{part}/kernel" for part in parts)
    biases = tuple(f"{part}/bias" for part in parts)
    each = [projection("", shapes[name], 1) for name in kernels]
    packed = Leaf(
        "in_proj_weight",
        lambda weight: tuple(leaf.to_flax(w) for leaf, w in zip(each, np.split(weight, 3), strict=True)),
        lambda *arrays: np.concatenate([leaf.to_torch(a) for leaf, a in zip(each, arrays, strict=True)]),
    )
    out: Named = {"out/kernel": projection("out_proj.weight", shapes["out/kernel"], 2)}
    plain: Named = {
        f"{part}/kernel": replace(leaf, tensors=f"{part}.weight")
        for part, leaf in zip(parts, each, strict=True)
    }
    plain["out/kernel"] = replace(out["out/kernel"], tensors="out.weight")
    bias: Named = {}
    same_heads = len({shapes[name][1:] for name in kernels}) == 1
    if "out/bias" in shapes:
        out["out/bias"] = Leaf("out_proj.bias")
        plain |= {f"{part}/bias": flat(f"{part}.bias", shapes[f"{part}/bias"]) for part in parts}
        plain["out/bias"] = Leaf("out.bias")
        bias = {
            biases: Leaf(
                "in_proj_bias",
                lambda bias: tuple(
                    b.reshape(shapes[n]) for n, b in zip(biases, np.split(bias, 3), strict=True)
                ),
                lambda *arrays: np.concatenate([array.reshape(-1) for array in arrays]),
            )
        }
    if not same_heads:  # grouped keys and values, which torch.nn.MultiheadAttention has not
        return [plain]
    separate: Named = {
        name: replace(leaf, tensors=f"{part}_proj_weight")
        for part, name, leaf in zip("qkv", kernels, each, strict=True)
    }
    rows: list[Row] = [{**separate, **bias, **out}, plain]
    same = len({shapes[name][0] for name in kernels}) == 1
    return [{kernels: packed, **bias, **out}, *rows] if same else rows


def over_features(layer: Any, shapes: Mapping[str, Shape]) -> Row:
    """A norm over several axes may be over (channels, height, width) in PyTorch."""
    several = any(len(shapes.get(name, ())) > 1 for name in ("scale", "bias"))
    return {name: replace(leaf, unsure=several) for name, leaf in AFFINE.items()}


def lstm(inputs: Sequence[str], hidden: Sequence[str]) -> Row:
    """The row of an LSTM's cell with a layer for each gate.

    Args:
        inputs: Names of the layers of the inputs, in PyTorch's order of gates: input, forget, cell, output.
        hidden: Names of the layers of the hidden state, which have the biases.
    """
    return dict(
        (
            gates("weight_ih", inputs),
            gates("weight_hh", hidden),
            (
                tuple(f"{name}/bias" for name in hidden),
                Leaf(
                    BIASES,
                    lambda ih, hh: tuple(np.split(ih + hh, 4)),
                    lambda *biases: halves(np.concatenate(biases)),
                    TWO_BIASES,
                ),
            ),
        )
    )


def cell(inputs: str, hidden: str, bias: Row) -> Row:
    """The row of a recurrent cell with one layer for the inputs and one for the hidden state."""
    return {
        f"{inputs}/kernel": replace(KERNEL, tensors="weight_ih"),
        f"{hidden}/kernel": replace(KERNEL, tensors="weight_hh"),
        **bias,
    }


SUMMED = Leaf(BIASES, np.add, halves, TWO_BIASES)


def refuse_residual(layer: Any) -> None:
    """Refuses a SimpleCell with a residual connection."""
    if layer.residual:
        raise ConversionError(
            "a SimpleCell with residual=True has no PyTorch counterpart; give it a torch_row"
        )


def weight_norm(inner: Row, kernel: Shape, axes: Any, path: str, scale: str) -> Sequence[Row]:
    """torch.nn.utils.parametrizations.weight_norm, or the older torch.nn.utils.weight_norm.

    PyTorch divides by the norm alone, Flax by the root of its square plus `epsilon`: 0 makes them equal.

    Args:
        inner: Row of the layer inside.
        kernel: Shape of its kernel.
        axes: The axis that has a gain for each of its indices; None for one gain.
        path: Path of the layer inside.
        scale: Name of the array of gains.
    """
    axis = axes[0] if isinstance(axes, Sequence) and len(axes) == 1 else axes
    if "kernel" not in inner or not (axis is None or isinstance(axis, int)):
        raise ConversionError(
            "a WeightNorm is known only around the kernel of a layer of the table, over one axis or none"
        )
    wrapped = inner["kernel"]
    rest = {name: leaf for name, leaf in inner.items() if name != "kernel"}
    # PyTorch keeps a gain as an axis of the weight, where the kernel's row puts it.
    kept = [1] * len(kernel)
    if axis is not None:
        kept[axis] = kernel[axis]
    gain = Leaf("", lambda g: wrapped.to_flax(g).reshape(-1), lambda s: wrapped.to_torch(s.reshape(kept)))
    if axis is None:
        gain = Leaf("")

    def named(v: str, g: str) -> Row:
        return {
            **prefixed({**rest, "kernel": replace(wrapped, tensors=v)}, path),
            scale: replace(gain, tensors=g),
        }

    new = "parametrizations.weight.original"
    return [named(new + "1", new + "0"), named("weight_v", "weight_g")]


def refuse_spectral_norm(layer: Any, shapes: Mapping[str, Shape]) -> Row:
    """Refuses flax's SpectralNorm, which computes something else than PyTorch's."""
    raise ConversionError(
        "flax's SpectralNorm divides by another norm than PyTorch's: it iterates in eval mode, too. "
        "Use the layer inside it alone, which takes the weight that PyTorch computes"
    )


def refuse_batch_axes(layer: Any, axes: Any, name: str) -> None:
    """Refuses a layer whose kernel differs along axes of the batch."""
    if axes:
        raise ConversionError(
            f"a {type(layer).__name__} with {name} has no PyTorch counterpart; give it a torch_row"
        )


def general(layer: Any, shapes: Mapping[str, Shape], inputs: int) -> Row:
    """The row of a dense layer over several axes, which PyTorch keeps flat.

    Args:
        layer: The layer.
        shapes: Shapes of its arrays.
        inputs: Number of its input axes.
    """
    row: Named = {"kernel": projection("weight", shapes["kernel"], inputs)}
    return row | ({"bias": flat("bias", shapes["bias"])} if "bias" in shapes else {})


def rows_of(
    layer: Any, shapes: Mapping[str, Shape], table: Mapping[type, Row | RowFunction]
) -> Sequence[Row]:
    """Returns the rows of a layer, the preferred one first; none where the table does not know it.

    Args:
        layer: The layer.
        shapes: Shapes of the arrays at and below it, by their names relative to it.
        table: Rows, or functions that make them, by the class of the layer.
    """
    own = getattr(type(layer), "torch_row", None)
    row = own if own is not None else next((table[c] for c in type(layer).__mro__ if c in table), {})
    found = row(layer, shapes) if callable(row) else row
    return [found] if isinstance(found, Mapping) else found
