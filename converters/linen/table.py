"""The table for linen: for each layer of Flax, the PyTorch tensors that hold its arrays."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
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


def _conv_transpose(layer: nn.ConvTranspose, shapes: Mapping[str, Shape]) -> Row:
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


def _dense_general(layer: nn.DenseGeneral, shapes: Mapping[str, Shape]) -> Row:
    if layer.batch_dims:
        raise ConversionError(
            "a DenseGeneral with batch_dims has no PyTorch counterpart; give it a torch_row"
        )
    inputs = len(layer.axis) if isinstance(layer.axis, Sequence) else 1
    row: Named = {"kernel": projection("weight", shapes["kernel"], inputs)}
    return row | ({"bias": flat("bias", shapes["bias"])} if "bias" in shapes else {})


def _attention(layer: nn.MultiHeadDotProductAttention, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """torch.nn.MultiheadAttention, packed or with separate projections, or three layers and `out`.

    PyTorch packs the three projections where queries, keys and values have the same width.
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
    separate: Named = {
        name: replace(leaf, tensors=f"{part}_proj_weight")
        for part, name, leaf in zip("qkv", kernels, each, strict=True)
    }
    rows: list[Row] = [{**separate, **bias, **out}, plain]
    same = len({shapes[name][0] for name in kernels}) == 1
    return [{kernels: packed, **bias, **out}, *rows] if same else rows


def _lstm(layer: nn.RNNCellBase, shapes: Mapping[str, Shape]) -> Row:
    return dict(
        (
            gates("weight_ih", [f"i{gate}" for gate in "ifgo"]),
            gates("weight_hh", [f"h{gate}" for gate in "ifgo"]),
            (
                tuple(f"h{gate}/bias" for gate in "ifgo"),
                Leaf(
                    BIASES,
                    lambda ih, hh: tuple(np.split(ih + hh, 4)),
                    lambda *biases: halves(np.concatenate(biases)),
                    TWO_BIASES,
                ),
            ),
        )
    )


def _gru(layer: nn.GRUCell, shapes: Mapping[str, Shape]) -> Row:
    """The new gate keeps both its biases: the reset gate acts between them."""

    def to_flax(ih: np.ndarray, hh: np.ndarray) -> tuple[np.ndarray, ...]:
        (reset, update, new), (h_reset, h_update, h_new) = np.split(ih, 3), np.split(hh, 3)
        return reset + h_reset, update + h_update, new, h_new

    def to_torch(reset: np.ndarray, update: np.ndarray, new: np.ndarray, h_new: np.ndarray) -> Any:
        zeros = np.zeros_like(reset)
        return np.concatenate([reset, update, new]), np.concatenate([zeros, zeros, h_new])

    return dict(
        (
            gates("weight_ih", ("ir", "iz", "in")),
            gates("weight_hh", ("hr", "hz", "hn")),
            (("ir/bias", "iz/bias", "in/bias", "hn/bias"), Leaf(BIASES, to_flax, to_torch, TWO_BIASES)),
        )
    )


def _simple_cell(layer: nn.SimpleCell, shapes: Mapping[str, Shape]) -> Row:
    if layer.residual:
        raise ConversionError(
            "a SimpleCell with residual=True has no PyTorch counterpart; give it a torch_row"
        )
    return {
        "i/kernel": replace(KERNEL, tensors="weight_ih"),
        "h/kernel": replace(KERNEL, tensors="weight_hh"),
        "i/bias": Leaf(BIASES, np.add, halves, TWO_BIASES),
    }


def _below(layer: nn.Module, inner: Any, shapes: Mapping[str, Shape]) -> tuple[str, dict[str, Shape]]:
    """The path from a layer to one that it wraps, which compact modules put beside it, and its shapes."""
    path = posixpath.relpath("/" + "/".join(inner.path), "/" + "/".join(layer.path))
    return path, {
        n.removeprefix(path + "/"): shape for n, shape in shapes.items() if n.startswith(path + "/")
    }


def _rnn(layer: nn.RNN, shapes: Mapping[str, Shape]) -> Row:
    """One layer of torch.nn.LSTM, GRU or RNN; a stack is a list of these and a names pair for `_l0`."""
    path, inner = _below(layer, layer.cell, shapes)
    row = rows(layer.cell, inner)[0]
    return prefixed(row, path, "_l0") if type(layer.cell) in LAYERS else prefixed(row, path)


def _bidirectional(layer: nn.Bidirectional, shapes: Mapping[str, Shape]) -> Row:
    forward, backward = (
        prefixed(rows(rnn, inner)[0], path, suffix)
        for rnn, suffix in zip((layer.forward_rnn, layer.backward_rnn), ("", "_reverse"), strict=True)
        for path, inner in (_below(layer, rnn, shapes),)
    )
    return {**forward, **backward}


def _weight_norm(layer: nn.WeightNorm, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """torch.nn.utils.parametrizations.weight_norm, or the older torch.nn.utils.weight_norm.

    PyTorch divides by the norm alone, Flax by the root of its square plus `epsilon`: 0 makes them equal.
    """
    path, inner = _below(layer, layer.layer_instance, shapes)
    row = dict(rows(layer.layer_instance, inner)[0])
    scale = f"{layer.layer_instance.name}/kernel/scale"
    axes = layer.feature_axes
    axis = axes[0] if isinstance(axes, Sequence) and len(axes) == 1 else axes
    if "kernel" not in row or scale not in shapes or not (axis is None or isinstance(axis, int)):
        raise ConversionError(
            "a WeightNorm is known only around the kernel of a layer of the table, over one axis or none"
        )
    wrapped = row.pop("kernel")
    # PyTorch keeps a gain as an axis of the weight, where the kernel's row puts it.
    kept = [1] * len(inner["kernel"])
    if axis is not None:
        kept[axis] = inner["kernel"][axis]
    gain = Leaf("", lambda g: wrapped.to_flax(g).reshape(-1), lambda s: wrapped.to_torch(s.reshape(kept)))
    if axis is None:
        gain = Leaf("")

    def named(v: str, g: str) -> Row:
        return {
            **prefixed({**row, "kernel": replace(wrapped, tensors=v)}, path),
            scale: replace(gain, tensors=g),
        }

    new = "parametrizations.weight.original"
    return [named(new + "1", new + "0"), named("weight_v", "weight_g")]


def _spectral_norm(layer: nn.SpectralNorm, shapes: Mapping[str, Shape]) -> Row:
    raise ConversionError(
        "flax's SpectralNorm divides by another norm than PyTorch's: it iterates in eval mode, too. "
        "Use the layer inside it alone, which takes the weight that PyTorch computes"
    )


def _features(layer: nn.Module, shapes: Mapping[str, Shape]) -> Row:
    """A norm over several axes may be over (channels, height, width) in PyTorch."""
    several = any(len(shapes.get(name, ())) > 1 for name in ("scale", "bias"))
    return {name: replace(leaf, unsure=several) for name, leaf in AFFINE.items()}


LAYERS: dict[type, Row | RowFunction] = {
    nn.Dense: {"kernel": KERNEL, "bias": Leaf("bias")},
    nn.Conv: {"kernel": KERNEL, "bias": Leaf("bias")},
    nn.ConvTranspose: _conv_transpose,
    nn.DenseGeneral: _dense_general,
    nn.MultiHeadDotProductAttention: _attention,
    nn.Embed: {"embedding": Leaf("weight")},
    nn.BatchNorm: {**AFFINE, "mean": Leaf("running_mean"), "var": Leaf("running_var")},
    nn.LayerNorm: _features,
    nn.GroupNorm: AFFINE,
    nn.InstanceNorm: _features,
    nn.RMSNorm: _features,
    nn.PReLU: {
        "negative_slope": Leaf(
            "weight",
            lambda w: w.reshape(()),
            lambda s: s.reshape(1),
            advice="flax's PReLU has one slope; a layer with self.param('weight', ...) can have several",
        )
    },
    nn.LSTMCell: _lstm,
    nn.OptimizedLSTMCell: _lstm,
    nn.GRUCell: _gru,
    nn.SimpleCell: _simple_cell,
    nn.RNN: _rnn,
    nn.Bidirectional: _bidirectional,
    nn.WeightNorm: _weight_norm,
    nn.SpectralNorm: _spectral_norm,
}


def rows(layer: Any, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """The rows of a layer, the preferred one first; none where the table does not know it.

    Args:
        layer: an instance, bound by the inspection.
        shapes: of the arrays at and below the layer, by their names relative to it.
    """
    own = getattr(type(layer), "torch_row", None)
    row = own if own is not None else next((LAYERS[c] for c in type(layer).__mro__ if c in LAYERS), {})
    found = row(layer, shapes) if callable(row) else row
    return [found] if isinstance(found, Mapping) else found
