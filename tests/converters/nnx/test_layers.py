"""Every row of NNX's table against torch's own layer in float64: outputs, gradients, and the way back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import converters
from tests.equivalence import FORWARD, check_gradients, difference, randomise, run_torch, state_dict

T = torch.nn
# Older versions of Flax have as many heads of keys as of queries.
GROUPED = (
    {"num_kv_heads": 2} if "num_kv_heads" in signature(nnx.MultiHeadAttention.__init__).parameters else {}
)
KEYS = GROUPED.get("num_kv_heads", 4)
DOUBLE = {"param_dtype": jnp.float64}


def exact_attention(query: Any, key: Any, value: Any, **options: Any) -> Any:
    """Attention with its softmax in float64, where JAX's own has it in float32."""
    groups = query.shape[-2] // key.shape[-2]
    key, value = (jnp.repeat(each, groups, axis=-2) for each in (key, value))
    scores = jnp.einsum("...qhd,...khd->...hqk", query, key) / query.shape[-1] ** 0.5
    return jnp.einsum("...hqk,...khd->...qhd", jax.nn.softmax(scores), value)


class GroupedAttention(T.Module):
    """Four heads of queries, fewer of keys and values, normalized before they meet."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (T.Linear(32, n) for n in (32, 8 * KEYS, 8 * KEYS, 32))
        self.query_ln, self.key_ln = (T.LayerNorm(8, eps=1e-6, bias=False) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def heads(layer: T.Linear, count: int) -> torch.Tensor:
            return layer(x).unflatten(-1, (count, 8)).transpose(1, 2)

        query, key = self.query_ln(heads(self.query, 4)), self.key_ln(heads(self.key, KEYS))
        key, value = (each.repeat_interleave(4 // KEYS, 1) for each in (key, heads(self.value, KEYS)))
        made = T.functional.scaled_dot_product_attention(query, key, value)
        return self.out(made.transpose(1, 2).flatten(2))


class Adapter(T.Module):
    """A LoRA under the names that PEFT gives its matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.lora_A = T.ModuleDict({"default": T.Linear(3, 2, bias=False)})
        self.lora_B = T.ModuleDict({"default": T.Linear(2, 4, bias=False)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lora_B["default"](self.lora_A["default"](x))


class Adapted(Adapter):
    """A linear layer with one."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer = T.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) + super().forward(x)


class TorchNet(T.Module):
    """A list of sequences, the first of which is used again, a dictionary, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = T.ModuleList(T.Sequential(T.Linear(3, 3), T.Tanh(), T.Linear(3, 3)) for _ in range(2))
        self.heads = T.ModuleDict({"mean": T.Linear(3, 2), "scale": T.Linear(3, 2)})
        self.gain = T.Parameter(torch.ones(3))
        self.last, self.dropout = self.blocks[0], T.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.last(self.blocks[1](self.blocks[0](x)))
        x = self.dropout(x * self.gain)
        return self.heads["mean"](x) * self.heads["scale"](x)


class Net(nnx.Module):
    """The same."""

    def __init__(self, *, rngs: nnx.Rngs, param_dtype: Any) -> None:
        linear = partial(nnx.Linear, rngs=rngs, param_dtype=param_dtype)
        self.blocks = nnx.List(nnx.Sequential(linear(3, 3), jnp.tanh, linear(3, 3)) for _ in range(2))
        self.heads = nnx.Dict(mean=linear(3, 2), scale=linear(3, 2))
        self.gain = nnx.Param(jnp.ones(3, param_dtype))
        self.last, self.dropout = self.blocks[0], nnx.Dropout(0.5, deterministic=True)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.last(self.blocks[1](self.blocks[0](x)))
        x = self.dropout(x * self.gain)
        return self.heads["mean"](x) * self.heads["scale"](x)


class TorchTied(T.Module):
    """Embeddings that are the weights of the head, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = T.Embedding(5, 4), T.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embed(ids)))


class Tied(nnx.Module):
    """The same."""

    def __init__(self, **keywords: Any) -> None:
        self.embed = nnx.Embed(5, 4, **keywords)

    def __call__(self, ids: jax.Array) -> jax.Array:
        return self.embed.attend(jnp.tanh(self.embed(ids)))


class Stacked(nnx.Module):
    """Three layers as one."""

    def __init__(self, *, rngs: nnx.Rngs, param_dtype: Any) -> None:
        made = nnx.vmap(lambda rngs: nnx.Linear(3, 3, rngs=rngs, param_dtype=param_dtype))
        self.layers = nnx.split_rngs(splits=3)(made)(rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        run = nnx.scan(lambda x, layer: jnp.tanh(layer(x)), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return run(x, self.layers)


class TorchStacked(T.Module):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = T.ModuleList(T.Linear(3, 3) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


def first(module: Any, x: Any) -> Any:
    return module(x)[0]


def itself(module: Any, x: Any) -> Any:
    return module(x, x, x)[0]


@dataclass(frozen=True)
class Layer:
    """One layer in both frameworks.

    Attributes:
        torch: Makes torch's.
        nnx: Makes NNX's, of keywords `rngs` and `param_dtype`.
        shape: Shape of the input, channels last.
        call: Calls torch's.
        lossy: Names that are given back exactly only with `like=`.
        ids: If true, the inputs are numbers of rows.
        spatial: If true, torch has the channels first; by default where there are four axes or more.
    """

    torch: Callable[[], T.Module]
    nnx: Callable[..., Any]
    shape: tuple[int, ...] = (2, 3)
    call: Callable[..., Any] | None = None
    lossy: frozenset[str] = frozenset()
    ids: bool = False
    spatial: bool | None = None

    @property
    def channels_first(self) -> bool:
        return len(self.shape) > 3 if self.spatial is None else self.spatial


BIASES = frozenset({"bias_ih_l0", "bias_hh_l0"})
SHARP = {"epsilon": 1e-5, "use_fast_variance": False}


def rnn(cell: Callable[..., Any], **keywords: Any) -> Any:
    return nnx.RNN(cell(3, 4, **keywords), rngs=keywords["rngs"])


def bidirectional(**keywords: Any) -> Any:
    one, two = (rnn(nnx.OptimizedLSTMCell, **keywords) for _ in range(2))
    return nnx.Bidirectional(one, two, rngs=keywords["rngs"])


def without_new_bias() -> T.Module:
    """A GRU whose new gate has no bias of the hidden state, which NNX's cell has not."""
    return randomise(T.GRU(3, 4, batch_first=True)).apply(lambda m: m.bias_hh_l0.data[8:].zero_())


conv = partial(partial, nnx.Conv)  # of its settings
LAYERS = {
    "Linear": Layer(lambda: T.Linear(3, 4), partial(nnx.Linear, 3, 4)),
    "Linear without bias": Layer(
        lambda: T.Linear(3, 4, bias=False), partial(nnx.Linear, 3, 4, use_bias=False)
    ),
    "LinearGeneral": Layer(
        lambda: T.Linear(6, 20),
        partial(nnx.LinearGeneral, (2, 3), (4, 5), axis=(-2, -1)),
        (2, 2, 3),
        lambda module, x: module(x.flatten(1)).unflatten(1, (4, 5)),
    ),
    "Einsum": Layer(
        lambda: T.Linear(3, 4, bias=False), partial(nnx.Einsum, "...d,fd->...f", (4, 3)), (2, 5, 3)
    ),
    "Einsum to heads": Layer(
        lambda: T.Linear(3, 20),
        partial(nnx.Einsum, "btd,ndh->btnh", (4, 3, 5), (4, 5)),
        (2, 6, 3),
        lambda module, x: module(x).unflatten(-1, (4, 5)),
    ),
    "Einsum from heads": Layer(
        lambda: T.Linear(20, 3, bias=False),
        partial(nnx.Einsum, "btnh,nhd->btd", (4, 5, 3)),
        (2, 6, 4, 5),
        lambda module, x: module(x.flatten(2)),
        spatial=False,
    ),
    "Conv 1-d": Layer(
        lambda: T.Conv1d(3, 4, 3, 2, 1), conv(3, 4, (3,), strides=2, padding=1), (2, 7, 3), spatial=True
    ),
    "Conv": Layer(
        lambda: T.Conv2d(3, 4, (3, 2), 2, 1), conv(3, 4, (3, 2), strides=2, padding=1), (2, 7, 8, 3)
    ),
    "Conv in groups": Layer(
        lambda: T.Conv2d(4, 6, 3, groups=2, dilation=2),
        conv(4, 6, (3, 3), padding="VALID", feature_group_count=2, kernel_dilation=2),
        (2, 7, 8, 4),
    ),
    "Conv 3-d": Layer(lambda: T.Conv3d(2, 3, 2), conv(2, 3, (2, 2, 2), padding="VALID"), (2, 3, 4, 5, 2)),
    "ConvTranspose": Layer(
        lambda: T.ConvTranspose2d(3, 4, 3, 2, padding=1),
        partial(nnx.ConvTranspose, 3, 4, (3, 3), strides=2, padding=((1, 1), (1, 1))),
        (2, 5, 6, 3),
    ),
    "ConvTranspose, transposed kernel": Layer(
        lambda: T.ConvTranspose2d(3, 4, 3, 2, padding=1),
        partial(nnx.ConvTranspose, 3, 4, (3, 3), strides=2, padding=((1, 1), (1, 1)), transpose_kernel=True),
        (2, 5, 6, 3),
    ),
    "BatchNorm": Layer(
        lambda: T.BatchNorm2d(4), partial(nnx.BatchNorm, 4, use_running_average=True), (2, 5, 6, 4)
    ),
    "BatchNorm in training": Layer(
        lambda: T.BatchNorm2d(4),
        partial(nnx.BatchNorm, 4, use_running_average=False, **SHARP),
        (2, 5, 6, 4),
        lambda module, x: module.train()(x),
    ),
    "LayerNorm": Layer(lambda: T.LayerNorm(4), partial(nnx.LayerNorm, 4, **SHARP), (2, 5, 4)),
    "RMSNorm": Layer(
        lambda: T.RMSNorm(4, eps=1e-6), partial(nnx.RMSNorm, 4, use_fast_variance=False), (2, 4)
    ),
    "GroupNorm": Layer(lambda: T.GroupNorm(2, 4), partial(nnx.GroupNorm, 4, 2, **SHARP), (2, 5, 6, 4)),
    "InstanceNorm": Layer(
        lambda: T.InstanceNorm2d(4, affine=True), partial(nnx.InstanceNorm, 4, **SHARP), (2, 5, 6, 4)
    ),
    "Embed": Layer(lambda: T.Embedding(5, 4), partial(nnx.Embed, 5, 4), (3, 7), ids=True),
    "PReLU": Layer(lambda: T.PReLU(), lambda rngs, **k: nnx.PReLU(**k)),
    "MultiHeadAttention": Layer(
        lambda: T.MultiheadAttention(8, 2, batch_first=True),
        partial(nnx.MultiHeadAttention, 2, 8, decode=False, attention_fn=exact_attention),
        (2, 5, 8),
        itself,
    ),
    "MultiHeadAttention, grouped and normalized": Layer(
        GroupedAttention,
        partial(
            nnx.MultiHeadAttention,
            4,
            32,
            decode=False,
            normalize_qk=True,
            **GROUPED,
            attention_fn=exact_attention,
        ),
        (2, 5, 32),
    ),
    "LSTMCell": Layer(
        lambda: T.LSTM(3, 4, batch_first=True), partial(rnn, nnx.LSTMCell), (2, 5, 3), first, BIASES
    ),
    "OptimizedLSTMCell": Layer(
        lambda: T.LSTM(3, 4, batch_first=True), partial(rnn, nnx.OptimizedLSTMCell), (2, 5, 3), first, BIASES
    ),
    "GRUCell": Layer(without_new_bias, partial(rnn, nnx.GRUCell), (2, 5, 3), first, BIASES),
    "SimpleCell": Layer(
        lambda: T.RNN(3, 4, batch_first=True),
        partial(rnn, nnx.SimpleCell, dtype=jnp.float64),
        (2, 5, 3),
        first,
        BIASES,
    ),
    "Bidirectional": Layer(
        lambda: T.LSTM(3, 4, batch_first=True, bidirectional=True),
        bidirectional,
        (2, 5, 3),
        first,
        BIASES | {f"{name}_reverse" for name in BIASES},
    ),
    "WeightNorm": Layer(
        lambda: T.utils.parametrizations.weight_norm(T.Linear(3, 4)),
        lambda **k: nnx.WeightNorm(nnx.Linear(3, 4, **k), epsilon=0.0, **k),
    ),
    "LoRALinear": Layer(Adapted, partial(nnx.LoRALinear, 3, 4, lora_rank=2, lora_param_dtype=jnp.float64)),
    "LoRA": Layer(Adapter, partial(nnx.LoRA, 3, 2, 4)),
    "List, Dict, Sequential, shared, own Param": Layer(TorchNet, Net),
    "tied": Layer(TorchTied, Tied, (3, 7), ids=True),
    "vmap and scan": Layer(TorchStacked, Stacked),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    layer = LAYERS[name]
    twin = layer.torch()
    twin = (twin if name == "GRUCell" else randomise(twin)).eval()
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, layer.shape) if layer.ids else rng.normal(size=layer.shape)
    theirs = np.moveaxis(x, -1, 1) if layer.channels_first else x
    with jax.enable_x64(True):
        module = layer.nnx(rngs=nnx.Rngs(0), **DOUBLE)
        given = state_dict(twin)
        state = converters.convert(given, module)
        nnx.update(module, state)
        back = converters.to_torch(module, like=given)
        assert {n: t.tobytes() for n, t in back.items()} == {n: t.tobytes() for n, t in given.items()}
        alone = converters.to_torch(module)
        if KEYS < 4 or layer.torch is not GroupedAttention:  # else it would be given back packed
            assert {n for n in alone if alone[n].tobytes() != given[n].tobytes()} <= layer.lossy
        # The gains of a WeightNorm are no params of NNX.
        graph, params, rest = nnx.split(module, nnx.Any(nnx.Param, nnx.PathContains("scales")), ...)

        def forward(params: Any, x: Any) -> Any:
            # Copied, since a stream of random numbers counts in the trace that it was made in.
            return nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))(x)

        @jax.jit
        def both(params: Any, x: Any, cotangent: Any) -> Any:
            if layer.ids:
                output, pull = jax.vjp(lambda params: forward(params, x), params)
            else:
                output, pull = jax.vjp(forward, params, x)
            return output, pull(cotangent)

        cotangent = rng.normal(size=jax.eval_shape(forward, params, x).shape)
        output, grads = both(params, x, cotangent)
        given_back = np.moveaxis(cotangent, -1, 1) if layer.channels_first else cotangent
        wanted = run_torch(twin, [theirs], [given_back], layer.call)
        expected = np.moveaxis(wanted.outputs[0], 1, -1) if layer.channels_first else wanted.outputs[0]
        assert difference(np.asarray(output), expected) <= FORWARD
        if wanted.inputs:
            grad = np.moveaxis(wanted.inputs[0], 1, -1) if layer.channels_first else wanted.inputs[0]
            assert difference(np.asarray(grads[1]), grad) <= FORWARD
        nnx.update(module, grads[0])
        found = converters.to_torch(module, like=given)
    # The second of two biases that are summed has the gradient of the sum; NNX's GRU lacks a part of it.
    names = [name for name in wanted.params if not (name == "bias_hh_l0" and layer.torch is without_new_bias)]
    check_gradients(
        {name: found[name.replace("bias_hh", "bias_ih")] for name in names},
        {name: wanted.params[name] for name in names},
        run_torch(twin, [theirs[::-1]], [given_back[::-1]], layer.call).params,
    )


@pytest.mark.parametrize(
    ("module", "message"),
    [
        *(
            (lambda rngs, way=way: nnx.Einsum(way, (3, 4), rngs=rngs), f"an Einsum of '{way}' may be kept")
            for way in ("ab,bc->abc", "ab,bc->a", "a,bc->abc", "ab,bc->acb", "abc,cb->a", "a,bc->acb")
        ),
        (lambda rngs: nnx.SpectralNorm(nnx.Linear(3, 4, rngs=rngs), rngs=rngs), "divides by another norm"),
        (
            lambda rngs: nnx.LinearGeneral(3, 4, batch_axis={0: 2}, rngs=rngs),
            "a LinearGeneral with batch_axis has no PyTorch counterpart",
        ),
    ],
)
def test_refused(module: Callable[[nnx.Rngs], nnx.Module], message: str) -> None:
    with pytest.raises(converters.ConversionError, match=message):
        converters.convert({"weight": np.zeros((4, 3), np.float32)}, module(nnx.Rngs(0)))


def test_gru_with_a_bias_that_nnx_lacks() -> None:
    gru = state_dict(randomise(T.GRU(3, 4)).float())
    names = "^bias_ih_l0 and bias_hh_l0, for params/cell/dense_i/bias: "
    with pytest.raises(converters.ConversionError, match=f"{names}.*no bias for the hidden state .*b_hn"):
        converters.convert(gru, rnn(nnx.GRUCell, rngs=nnx.Rngs(0)))


def test_einsum_with_a_row() -> None:
    class Projection(nnx.Einsum):
        torch_row: ClassVar = {"kernel": converters.layers.KERNEL}

    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    state = converters.convert({"weight": weight}, Projection("ab,bc->abc", (3, 4), rngs=nnx.Rngs(0)))
    np.testing.assert_array_equal(state["kernel"].get_value(), weight.T)


def test_lora_says_that_peft_scales_it() -> None:
    notes = converters.match(state_dict(Adapted()), nnx.LoRALinear(3, 4, lora_rank=2, rngs=nnx.Rngs(0))).notes
    assert any("lora_alpha / r" in note for note in notes)
