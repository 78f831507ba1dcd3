"""Every row of the layer table, over the options of its layer, against torch's own layer in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import torch

import converters
from tests.equivalence import (
    FORWARD,
    check_gradients,
    difference,
    flax_gradients,
    randomise,
    run_flax,
    run_torch,
    state_dict,
)

T = torch.nn
BATCH = 3


@dataclass(frozen=True)
class Layer:
    flax: nn.Module
    torch: Callable[[], torch.nn.Module]
    shape: tuple[int, ...]  # of the Flax input, without the batch
    channels_first: bool = False  # whether torch's input and output are
    classes: int = 0  # the input is that many class indices
    call: Callable[..., Any] | None = None  # how torch is called
    kwargs: dict[str, Any] = field(default_factory=dict)  # how Flax is called
    options: dict[str, Any] = field(default_factory=dict)  # of convert


def first(module: Any, *inputs: Any) -> Any:
    return module(*inputs)[0]


def attend(module: Any, x: Any) -> Any:
    return module(x, x, x)[0]


class SelfAttention(nn.Module):
    """The attention of Flax on one input, its layer names at the top."""

    heads: int
    bias: bool = True

    def setup(self) -> None:
        self.attn = nn.MultiHeadDotProductAttention(self.heads, use_bias=self.bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.attn(x)


class CrossAttention(nn.Module):
    def setup(self) -> None:
        self.attn = nn.MultiHeadDotProductAttention(2, qkv_features=8, out_features=8)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.attn(x, x[..., :5], x[..., :6])


class PlainAttention(torch.nn.Module):
    """Attention whose projections are layers of their own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (T.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return self.out((scores @ v).transpose(1, 2).flatten(2))


class Step(nn.Module):
    """One block of a scan."""

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return x + nn.tanh(nn.Dense(5, name="fc")(x)), None


class Scanned(nn.Module):
    """Five blocks of five features: shapes do not tell which axis the scan added."""

    axis: int

    def setup(self) -> None:
        self.blocks = nn.scan(
            nn.remat(Step), variable_axes={"params": self.axis}, split_rngs={"params": True}, length=5
        )()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.blocks(x, None)[0]


class Tied(nn.Module):
    """One matrix embeds words and scores them."""

    def setup(self) -> None:
        self.embed = nn.Embed(11, 5)

    def __call__(self, ids: jax.Array) -> jax.Array:
        return self.embed.attend(nn.tanh(self.embed(ids)))


def scan(module: Any, x: Any) -> Any:
    for block in module["blocks"]:
        x = x + torch.tanh(block["fc"](x))
    return x


def tied(module: Any, ids: Any) -> Any:
    return torch.tanh(module["embed"](ids)) @ module["embed"].weight.T


def old_weight_norm() -> torch.nn.Module:
    with pytest.warns(FutureWarning, match="weight_norm"):
        return T.utils.weight_norm(T.Linear(7, 5))


class Stack(nn.Module):
    """Recurrent layers one after the other, as torch stacks them."""

    layers: tuple[nn.Module, ...]

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


def crossed(module: Any, x: Any) -> Any:
    return module.attn(x, x[..., :5], x[..., :6], need_weights=False)[0]


def named(**modules: torch.nn.Module) -> torch.nn.Module:
    return T.ModuleDict(modules)


def conv(dims: int, kernel: Sequence[int], **options: Any) -> Layer:
    """The same convolution in both; options in Flax's words."""
    settings = {"padding": 0, **options}
    words = {
        "strides": "stride",
        "kernel_dilation": "dilation",
        "feature_group_count": "groups",
        "use_bias": "bias",
    }
    theirs = {words.get(name, name): value for name, value in settings.items()}
    if isinstance(settings["padding"], tuple):
        settings["padding"] = tuple((p, p) for p in settings["padding"])
    kind = (T.Conv1d, T.Conv2d, T.Conv3d)[dims - 1]
    return Layer(
        nn.Conv(6, tuple(kernel), **settings),
        lambda: kind(4, 6, tuple(kernel), **theirs),
        ((9,), (9, 7), (6, 5, 7))[dims - 1] + (4,),
        channels_first=True,
    )


def conv_transpose(
    dims: int, transposed: bool, k: int = 3, stride: int = 1, p: int = 0, extra: int = 0
) -> Layer:
    """Flax pads the dilated input, PyTorch crops the output: k - 1 - p on each side, and what is added."""
    kind = (T.ConvTranspose1d, T.ConvTranspose2d, T.ConvTranspose3d)[dims - 1]
    return Layer(
        nn.ConvTranspose(
            6,
            (k,) * dims,
            (stride,) * dims,
            padding=((k - 1 - p, k - 1 - p + extra),) * dims,
            transpose_kernel=transposed,
        ),
        lambda: kind(4, 6, k, stride, p, extra),
        ((9,), (9, 7), (6, 5, 7))[dims - 1] + (4,),
        channels_first=True,
    )


def stacked(cell: Callable[..., nn.Module], *, both: bool) -> tuple[nn.Module, ...]:
    def layer() -> nn.Module:
        return nn.RNN(cell(5, param_dtype=np.float64))

    return tuple(nn.Bidirectional(layer(), layer()) if both else layer() for _ in range(2))


STACK = {"names": ((r"^layers\.(\d+)\.(weight|bias)_(ih|hh)_l0", r"\2_\3_l\1"),)}


def affine(layer: nn.Module, theirs: Callable[[], torch.nn.Module], *shape: int, **options: Any) -> Layer:
    return Layer(layer, theirs, shape, **options)


IMAGE = (7, 5, 6)
LAYERS = {
    "Dense": Layer(nn.Dense(5), lambda: T.Linear(7, 5), (7,)),
    "Dense without bias": Layer(nn.Dense(5, use_bias=False), lambda: T.Linear(7, 5, bias=False), (4, 7)),
    "Conv 1-d": conv(1, (3,)),
    "Conv 1-d, strided, dilated, padded": conv(1, (3,), strides=2, kernel_dilation=2, padding=(2,)),
    "Conv 2-d": conv(2, (3, 2)),
    "Conv 2-d, strided, padded": conv(2, (3, 2), strides=(2, 1), padding=(1, 2)),
    "Conv 2-d, grouped, dilated": conv(2, (3, 3), feature_group_count=2, kernel_dilation=(2, 1)),
    "Conv 2-d, no bias": conv(2, (1, 1), use_bias=False),
    "Conv 2-d, depthwise": Layer(
        nn.Conv(8, (3, 3), padding=1, feature_group_count=4),
        lambda: T.Conv2d(4, 8, 3, 1, 1, groups=4),
        (7, 5, 4),
        channels_first=True,
    ),
    "Conv 3-d": conv(3, (2, 3, 1), strides=(1, 2, 1), padding=(1, 0, 2)),
    "Conv 3-d, grouped": conv(3, (2, 2, 2), feature_group_count=2),
    **{
        f"ConvTranspose {dims}-d, {t}, stride {s}, padding {p}, output padding {e}": conv_transpose(
            dims, t, 3, s, p, e
        )
        for dims in (1, 2, 3)
        for t in (True, False)
        for s, p, e in ((1, 0, 0), (2, 1, 1), (3, 2, 0))
    },
    "DenseGeneral to two axes": Layer(
        nn.DenseGeneral((2, 3)),
        lambda: T.Sequential(T.Linear(7, 6), T.Unflatten(-1, (2, 3))),
        (4, 7),
        options={"names": ((r"^", "0."),)},
    ),
    "DenseGeneral from two axes": Layer(
        nn.DenseGeneral(5, axis=(-2, -1)),
        lambda: T.Sequential(T.Flatten(2), T.Linear(12, 5)),
        (4, 3, 4),
        options={"names": ((r"^", "1."),)},
    ),
    "attention, packed": Layer(
        SelfAttention(2),
        lambda: named(attn=T.MultiheadAttention(8, 2, batch_first=True)),
        (5, 8),
        call=lambda m, x: attend(m["attn"], x),
    ),
    "attention, packed, no bias": Layer(
        SelfAttention(4, bias=False),
        lambda: named(attn=T.MultiheadAttention(8, 4, bias=False, batch_first=True)),
        (5, 8),
        call=lambda m, x: attend(m["attn"], x),
    ),
    "attention, separate projections": Layer(
        CrossAttention(),
        lambda: named(attn=T.MultiheadAttention(8, 2, kdim=5, vdim=6, batch_first=True)),
        (5, 8),
        call=lambda m, x: (
            crossed(m, x) if hasattr(m, "attn") else crossed(type("M", (), {"attn": m["attn"]}), x)
        ),
    ),
    "Embed": Layer(nn.Embed(11, 5), lambda: T.Embedding(11, 5), (4,), classes=11),
    "LayerNorm": affine(nn.LayerNorm(epsilon=1e-5, use_fast_variance=False), lambda: T.LayerNorm(6), *IMAGE),
    "LayerNorm, no affine": affine(
        nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, use_bias=False, use_scale=False),
        lambda: T.LayerNorm(6, elementwise_affine=False),
        *IMAGE,
    ),
    "LayerNorm, no bias": affine(
        nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, use_bias=False),
        lambda: T.LayerNorm(6, bias=False),
        4,
        6,
    ),
    "LayerNorm, two axes": affine(
        nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, reduction_axes=(-2, -1), feature_axes=(-2, -1)),
        lambda: T.LayerNorm((5, 6)),
        *IMAGE,
    ),
    "GroupNorm": affine(
        nn.GroupNorm(3, epsilon=1e-5, use_fast_variance=False),
        lambda: T.GroupNorm(3, 6),
        *IMAGE,
        channels_first=True,
    ),
    "GroupNorm, no affine": affine(
        nn.GroupNorm(2, epsilon=1e-5, use_fast_variance=False, use_bias=False, use_scale=False),
        lambda: T.GroupNorm(2, 6, affine=False),
        9,
        6,
        channels_first=True,
    ),
    "InstanceNorm": affine(
        nn.InstanceNorm(epsilon=1e-5, use_fast_variance=False),
        lambda: T.InstanceNorm2d(6, affine=True),
        *IMAGE,
        channels_first=True,
    ),
    "InstanceNorm, no affine": affine(
        nn.InstanceNorm(epsilon=1e-5, use_fast_variance=False, use_bias=False, use_scale=False),
        lambda: T.InstanceNorm1d(6),
        9,
        6,
        channels_first=True,
    ),
    "RMSNorm": affine(nn.RMSNorm(epsilon=1e-5), lambda: T.RMSNorm(6, eps=1e-5), 4, 6),
    "RMSNorm, no affine": affine(
        nn.RMSNorm(epsilon=1e-5, use_scale=False),
        lambda: T.RMSNorm(6, eps=1e-5, elementwise_affine=False),
        4,
        6,
    ),
    "PReLU": affine(nn.PReLU(), lambda: T.PReLU(), 4, 6),
    "LSTM": Layer(
        nn.RNN(nn.LSTMCell(5, param_dtype=np.float64)),
        lambda: T.LSTM(4, 5, batch_first=True),
        (6, 4),
        call=first,
    ),
    "LSTM, optimised cell": Layer(
        nn.RNN(nn.OptimizedLSTMCell(5, param_dtype=np.float64)),
        lambda: T.LSTM(4, 5, batch_first=True),
        (6, 4),
        call=first,
    ),
    "LSTM, two layers": Layer(
        Stack(stacked(nn.LSTMCell, both=False)),
        lambda: T.LSTM(4, 5, 2, batch_first=True),
        (6, 4),
        call=first,
        options=STACK,
    ),
    "LSTM, two layers, both directions": Layer(
        Stack(stacked(nn.LSTMCell, both=True)),
        lambda: T.LSTM(4, 5, 2, batch_first=True, bidirectional=True),
        (6, 4),
        call=first,
        options=STACK,
    ),
    "GRU": Layer(
        nn.RNN(nn.GRUCell(5, param_dtype=np.float64)),
        lambda: T.GRU(4, 5, batch_first=True),
        (6, 4),
        call=first,
    ),
    "GRU, two layers, both directions": Layer(
        Stack(stacked(nn.GRUCell, both=True)),
        lambda: T.GRU(4, 5, 2, batch_first=True, bidirectional=True),
        (6, 4),
        call=first,
        options=STACK,
    ),
    "RNN": Layer(
        nn.RNN(nn.SimpleCell(5, param_dtype=np.float64)),
        lambda: T.RNN(4, 5, batch_first=True),
        (6, 4),
        call=first,
    ),
    "Sequential": Layer(
        nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(3)]),
        lambda: T.Sequential(T.Linear(7, 5), T.ReLU(), T.Linear(5, 3)),
        (7,),
    ),
    "WeightNorm of Dense": Layer(
        nn.WeightNorm(nn.Dense(5), epsilon=0),
        lambda: T.utils.parametrizations.weight_norm(T.Linear(7, 5)),
        (7,),
    ),
    "WeightNorm of Conv": Layer(
        nn.WeightNorm(nn.Conv(6, (3, 2), padding=0), epsilon=0),
        lambda: T.utils.parametrizations.weight_norm(T.Conv2d(4, 6, (3, 2))),
        (7, 5, 4),
        channels_first=True,
    ),
    "WeightNorm of ConvTranspose": Layer(
        nn.WeightNorm(
            nn.ConvTranspose(6, (3, 3), padding=((2, 2), (2, 2)), transpose_kernel=True), epsilon=0
        ),
        lambda: T.utils.parametrizations.weight_norm(T.ConvTranspose2d(4, 6, 3)),
        (7, 5, 4),
        channels_first=True,
    ),
    "attention, projections as layers": Layer(
        SelfAttention(2), lambda: named(attn=PlainAttention(8, 2)), (5, 8), call=lambda m, x: m["attn"](x)
    ),
    "BatchNorm, running statistics": affine(
        nn.BatchNorm(use_running_average=True), lambda: T.BatchNorm2d(6), *IMAGE, channels_first=True
    ),
    "WeightNorm, the older kind": Layer(nn.WeightNorm(nn.Dense(5), epsilon=0), old_weight_norm, (7,)),
    "nn.scan over nn.remat": Layer(
        Scanned(0),
        lambda: named(blocks=T.ModuleList(named(fc=T.Linear(5, 5)) for _ in range(5))),
        (5,),
        call=scan,
    ),
    "nn.scan along the second axis": Layer(
        Scanned(1),
        lambda: named(blocks=T.ModuleList(named(fc=T.Linear(5, 5)) for _ in range(5))),
        (5,),
        call=scan,
    ),
    "a tied matrix": Layer(Tied(), lambda: named(embed=T.Embedding(11, 5)), (4,), classes=11, call=tied),
    "nn.vmap over Dense": Layer(
        nn.vmap(
            nn.Dense,
            variable_axes={"params": 1},
            split_rngs={"params": True},
            in_axes=None,
            out_axes=1,
            axis_size=5,
        )(5),
        lambda: T.ModuleList([T.Linear(5, 5) for _ in range(5)]),
        (5,),
        call=lambda m, x: torch.stack([layer(x) for layer in m], 1),
    ),
}


@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_layer_equals_torchs_forward_and_backward(case: Layer) -> None:
    module = randomise(case.torch()).eval()
    rng = np.random.default_rng(1)
    x = (
        rng.integers(case.classes, size=(BATCH, *case.shape))
        if case.classes
        else rng.normal(size=(BATCH, *case.shape))
    )
    last = (lambda a: np.moveaxis(a, 1, -1)) if case.channels_first else (lambda a: a)
    ahead = (lambda a: np.moveaxis(a, -1, 1)) if case.channels_first else (lambda a: a)
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(module), case.flax, x, **case.options)
        back = converters.to_torch(variables, case.flax, x, like=state_dict(module), **case.options)
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in back.items()} == {
        n: (a.dtype, a.shape, np.ascontiguousarray(a).tobytes()) for n, a in state_dict(module).items()
    }

    expected = run_torch(module, [ahead(x)], call=case.call).outputs[0]
    cotangent = rng.normal(size=expected.shape)
    reference = run_torch(module, [ahead(x)], [cotangent], case.call)
    reordered = run_torch(module, [ahead(x)[::-1]], [cotangent[::-1]], case.call)
    (output,), grads, input_grads, _ = run_flax(case.flax, variables, [x], [last(cotangent)], **case.kwargs)
    error = difference(ahead(output), expected)
    assert error <= FORWARD, f"outputs differ by {error:.1e}"
    with jax.enable_x64(True):
        ours = flax_gradients(case.flax, grads, variables, x, like=state_dict(module), **case.options)
    # Where Flax keeps the sum of two biases, to_torch writes the first and leaves zeros in the second.
    theirs = {n: np.where(ours[n] == 0, 0, g) if "bias_hh" in n else g for n, g in reference.params.items()}
    reordered_grads = {
        n: np.where(ours[n] == 0, 0, g) if "bias_hh" in n else g for n, g in reordered.params.items()
    }
    if not case.classes:
        ours["the input"], theirs["the input"] = ahead(input_grads[0]), reference.inputs[0]
        reordered_grads["the input"] = reordered.inputs[0][::-1]
    print(f"outputs differ by {error:.1e}; {check_gradients(ours, theirs, reordered_grads)}")
