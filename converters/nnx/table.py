"""The table for NNX: for each layer of `flax.nnx`, the PyTorch tensors that hold its arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from flax import nnx

from converters.errors import ConversionError
from converters.layers import AFFINE, BIASES, KERNEL, TWO_BIASES, Leaf, Row, RowFunction, Shape, prefixed
from converters.nnx.einsum import einsum
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


def _linear_general(layer: nnx.LinearGeneral, shapes: Mapping[str, Shape]) -> Row:
    refuse_batch_axes(layer, layer.batch_axis, "batch_axis")
    return general(layer, shapes, len(layer.in_features))


def _lstm(layer: nnx.LSTMCell, shapes: Mapping[str, Shape]) -> Row:
    return lstm(("ii", "if_", "ig", "io"), [f"h{gate}" for gate in "ifgo"])


def _optimized_lstm(layer: nnx.OptimizedLSTMCell, shapes: Mapping[str, Shape]) -> Row:
    return cell("dense_i", "dense_h", {"dense_h/bias": SUMMED})


def _gru(layer: nnx.GRUCell, shapes: Mapping[str, Shape]) -> Row:
    """The cell has no bias of the hidden state, which PyTorch's new gate adds before the reset gate acts."""

    def to_flax(ih: np.ndarray, hh: np.ndarray) -> np.ndarray:
        new = hh[2 * len(hh) // 3 :]
        if new.any():
            raise ConversionError(
                "nnx.GRUCell has no bias for the hidden state of its new gate (b_hn), and the file's is not "
                f"zero (up to {np.abs(new).max():g}); a cell of your own, or linen's, has one"
            )
        return cast(np.ndarray, ih + hh)

    bias = Leaf(
        BIASES,
        to_flax,
        lambda bias: (bias, np.zeros_like(bias)),
        TWO_BIASES,
        advice="nnx.GRUCell has the biases of the inputs only",
    )
    return cell("dense_i", "dense_h", {"dense_i/bias": bias})


def _simple_cell(layer: nnx.SimpleCell, shapes: Mapping[str, Shape]) -> Row:
    refuse_residual(layer)
    return cell("dense_i", "dense_h", {"dense_i/bias": SUMMED})


def _inner(name: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    return {n.removeprefix(f"{name}/"): shape for n, shape in shapes.items() if n.startswith(f"{name}/")}


def _rnn(layer: nnx.RNN, shapes: Mapping[str, Shape]) -> Row:
    """One layer of torch.nn.LSTM, GRU or RNN; a stack is a list of these and a names pair for `_l0`."""
    row = rows(layer.cell, _inner("cell", shapes))[0]
    return prefixed(row, "cell", "_l0" if type(layer.cell) in LAYERS else "")


def _bidirectional(layer: nnx.Bidirectional, shapes: Mapping[str, Shape]) -> Row:
    found: dict[str | tuple[str, ...], Leaf] = {}
    for name, rnn, suffix in (
        ("forward_rnn", layer.forward_rnn, ""),
        ("backward_rnn", layer.backward_rnn, "_reverse"),
    ):
        found |= prefixed(rows(rnn, _inner(name, shapes))[0], name, suffix)
    return found


def _weight_norm(layer: nnx.WeightNorm, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    inner, scale = _inner("layer_instance", shapes), "scales_kernel"
    row = rows(layer.layer_instance, inner)[0] if scale in shapes else {}
    axes = layer.feature_axes if layer.feature_axes != () else None
    return weight_norm(row, inner.get("kernel", ()), axes, "layer_instance", scale)


def _lora(layer: nnx.LoRA, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """The matrices under the names that PEFT gives them, in a model or in a file of adapters alone."""
    return [_matrices("", ".default"), _matrices("", "")]


def _matrices(path: str, adapter: str) -> Row:
    return {
        f"{path}lora_a": replace(KERNEL, tensors=f"lora_A{adapter}.weight", note=SCALE),
        f"{path}lora_b": replace(KERNEL, tensors=f"lora_B{adapter}.weight"),
    }


def _lora_linear(layer: nnx.LoRALinear, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """The layer under PEFT's names, where it is called `base_layer`; or as it was before, with matrices."""
    base = {name: replace(leaf, tensors=f"base_layer.{leaf.tensors}") for name, leaf in WITH_KERNEL.items()}
    return [
        {**base, **_matrices("lora/", ".default")},
        {**base, **_matrices("lora/", "")},
        {**WITH_KERNEL, **_matrices("lora/", "")},
    ]


SCALE = (
    "PEFT multiplies what a LoRA adds by lora_alpha / r, which no tensor says and NNX leaves out: multiply "
    "lora_B by it unless it is 1"
)

LAYERS: dict[type, Row | RowFunction] = {
    nnx.Linear: WITH_KERNEL,
    nnx.LoRALinear: _lora_linear,
    nnx.LoRA: _lora,
    nnx.Conv: WITH_KERNEL,
    nnx.ConvTranspose: conv_transpose,
    nnx.LinearGeneral: _linear_general,
    nnx.Einsum: einsum,
    nnx.MultiHeadAttention: attention,
    nnx.Embed: EMBED,
    nnx.BatchNorm: BATCH_NORM,
    nnx.LayerNorm: over_features,
    nnx.GroupNorm: AFFINE,
    nnx.InstanceNorm: over_features,
    nnx.RMSNorm: over_features,
    nnx.PReLU: PRELU,
    nnx.LSTMCell: _lstm,
    nnx.OptimizedLSTMCell: _optimized_lstm,
    nnx.GRUCell: _gru,
    nnx.SimpleCell: _simple_cell,
    nnx.RNN: _rnn,
    nnx.Bidirectional: _bidirectional,
    nnx.WeightNorm: _weight_norm,
    nnx.SpectralNorm: refuse_spectral_norm,
}


def rows(layer: Any, shapes: Mapping[str, Shape]) -> Sequence[Row]:
    """The rows of a layer, the preferred one first; none where the table does not know it.

    Args:
        layer: An NNX module.
        shapes: Shapes of the arrays at and below the layer, by their names relative to it.
    """
    return rows_of(layer, shapes, LAYERS)
