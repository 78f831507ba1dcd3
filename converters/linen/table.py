"""The table for linen: for each layer of Flax, the PyTorch tensors that hold its arrays."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from converters.layers import AFFINE, BIASES, TWO_BIASES, Leaf, Row, RowFunction, Shape, gates, prefixed
from converters.rows import (
    BATCH_NORM,
    EMBED,
    PRELU,
    SUMMED,
    WITH_KERNEL,
    attention,
    cell,
    conv_transpose,
    general,
    lstm,
    over_features,
    refuse_batch_axes,
    refuse_residual,
    refuse_spectral_norm,
    rows_of,
    weight_norm,
)


def _dense_general(layer: nn.DenseGeneral, shapes: Mapping[str, Shape]) -> Row:
    refuse_batch_axes(layer, layer.batch_dims, "batch_dims")
    return general(layer, shapes, len(layer.axis) if isinstance(layer.axis, Sequence) else 1)


def _lstm(layer: nn.RNNCellBase, shapes: Mapping[str, Shape]) -> Row:
    return lstm([f"i{gate}" for gate in "ifgo"], [f"h{gate}" for gate in "ifgo"])


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
    refuse_residual(layer)
    return cell("i", "h", {"i/bias": SUMMED})


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
    path, inner = _below(layer, layer.layer_instance, shapes)
    scale = f"{layer.layer_instance.name}/kernel/scale"
    row = rows(layer.layer_instance, inner)[0] if scale in shapes else {}
    return weight_norm(row, inner.get("kernel", ()), layer.feature_axes, path, scale)


LAYERS: dict[type, Row | RowFunction] = {
    nn.Dense: WITH_KERNEL,
    nn.Conv: WITH_KERNEL,
    nn.ConvTranspose: conv_transpose,
    nn.DenseGeneral: _dense_general,
    nn.MultiHeadDotProductAttention: attention,
    nn.Embed: EMBED,
    nn.BatchNorm: BATCH_NORM,
    nn.LayerNorm: over_features,
    nn.GroupNorm: AFFINE,
    nn.InstanceNorm: over_features,
    nn.RMSNorm: over_features,
    nn.PReLU: PRELU,
    nn.LSTMCell: _lstm,
    nn.OptimizedLSTMCell: _lstm,
    nn.GRUCell: _gru,
    nn.SimpleCell: _simple_cell,
    nn.RNN: _rnn,
    nn.Bidirectional: _bidirectional,
    nn.WeightNorm: _weight_norm,
    nn.SpectralNorm: refuse_spectral_norm,
}


def rows(layer: Any, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """The rows of a layer, the preferred one first; none where the table does not know it.

    Args:
        layer: an instance, bound by the inspection.
        shapes: of the arrays at and below the layer, by their names relative to it.
    """
    return rows_of(layer, shapes, LAYERS)
