"""Differences between a module and a state dict: missing=, buffers, ties, conversions of nothing."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from converters import ConversionError, convert, match, to_torch

T = torch.nn
X = np.ones((2, 4), np.float32)


class Head(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(2, name="head")(
            nn.BatchNorm(use_running_average=True, name="norm")(nn.Dense(4, name="body")(x))
        )


BODY = {f"body.{name}": tensor.detach() for name, tensor in T.Linear(4, 4).state_dict().items()}


@pytest.mark.parametrize("missing", [r"(params|batch_stats)/(head|norm)/.*", r"(head|norm)\..*"])
def test_what_may_be_missing_keeps_its_initial_values(missing: str) -> None:
    found = match(BODY, Head(), X, rngs=jax.random.key(3), missing=[missing])
    assert found.notes == (
        "6 arrays that the file lacks kept the initial values: "
        "params/norm/scale, params/norm/bias, batch_stats/norm/mean ...",
    )
    variables = found.variables()
    assert variables["params"]["body"]["kernel"].tolist() == BODY["body.weight"].T.tolist()
    expected = Head().init(jax.random.key(3), X)
    jax.tree.map(
        np.testing.assert_array_equal,
        {name: variables["params"][name] for name in ("head", "norm")} | variables["batch_stats"],
        {name: expected["params"][name] for name in ("head", "norm")} | expected["batch_stats"],
    )
    assert found.dtypes.keys() == {("params", "body", name) for name in ("kernel", "bias")} | {
        array.path for array in found.initial
    }
    back = to_torch(variables, Head(), X, like=BODY, missing=[missing])
    assert list(back)[:2] == list(BODY)
    assert {"head.weight", "norm.running_var"} < set(back)


def test_an_error_says_how_to_let_tensors_be_missing() -> None:
    with pytest.raises(ConversionError, match=r"pass missing=\(r'norm\\\.weight', \.\.\.\)"):
        convert(BODY, Head(), X)


def test_an_lstm_without_biases() -> None:
    class Lstm(nn.Module):
        def setup(self) -> None:
            self.lstm = nn.RNN(nn.OptimizedLSTMCell(5))

        def __call__(self, x: jax.Array) -> Any:
            return self.lstm(x)

    theirs, x = (
        T.LSTM(4, 5, bias=False, batch_first=True),
        np.random.default_rng(0).random((2, 3, 4), np.float32),
    )
    tensors = {f"lstm.{name}": tensor for name, tensor in theirs.state_dict().items()}
    variables = convert(tensors, Lstm(), x, missing=[r"lstm\.bias_.*"])
    expected = theirs(torch.from_numpy(x))[0].detach()
    np.testing.assert_allclose(Lstm().apply(variables, x), expected, atol=1e-6)


class Normaliser(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        mean = self.variable("observed", "mean", jnp.zeros, (4,))
        return x - mean.value


def test_buffers_in_a_collection_of_ones_own_have_their_names() -> None:
    mean = np.arange(4, dtype=np.float32)
    assert convert({"mean": mean}, Normaliser(), X)["observed"]["mean"].tolist() == mean.tolist()
    with pytest.raises(ConversionError, match=r"missing    mean, for observed/mean"):
        convert({"other": mean}, Normaliser(), X)


class Inner(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.fc = nnx.Linear(4, 6, rngs=rngs)

    def __call__(self, x: jax.Array) -> Any:
        return self.fc(x)


def test_arrays_that_no_linen_layer_owns_are_not_skipped() -> None:
    with pytest.raises(ConversionError, match=r"params/fc/bias.*no linen layer owns it"):
        convert({}, nnx.bridge.to_linen(Inner), X, ignore=[".*"])


def test_a_conversion_that_fills_nothing_is_refused() -> None:
    with pytest.raises(ConversionError, match="nothing    is filled"):
        convert(BODY, Head(), X, missing=[".*"], ignore=[".*"], names=[("^", "other.")])


class Tied(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = T.Embedding(10, 4), T.Linear(4, 10, bias=False)
        self.out.weight = self.embed.weight


class Embedded(nn.Module):
    def setup(self) -> None:
        self.embed = nn.Embed(10, 4)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.embed.attend(self.embed(x))


def test_tied_tensors_in_memory_are_tied() -> None:
    tensors, x = Tied().state_dict(), np.zeros((1, 3), np.int32)
    variables = convert(tensors, Embedded(), x)
    assert list(to_torch(variables, Embedded(), x, like=tensors)) == ["embed.weight", "out.weight"]
    copied = {name: tensor.clone() for name, tensor in tensors.items()}
    with pytest.raises(ConversionError, match=r"left over  out\.weight"):
        convert(copied, Embedded(), x)


class Attention(nn.Module):
    def setup(self) -> None:
        self.attn = nn.MultiHeadDotProductAttention(2)

    def __call__(self, x: jax.Array) -> Any:
        return self.attn(x, x)


def test_names_lead_back_to_the_layout_that_they_converted() -> None:
    names = [(rf"\.{part}\.", f".{part[0]}_proj.") for part in ("query", "key", "value", "out")]
    tensors = {
        f"attn.{part}_proj.{leaf}": np.random.default_rng(0).random(shape, np.float32)
        for part in "qkvo"
        for leaf, shape in (("weight", (8, 8)), ("bias", (8,)))
    }
    x = np.ones((1, 3, 8), np.float32)
    back = to_torch(convert(tensors, Attention(), x, names=names), Attention(), x, names=names)
    assert back.keys() == tensors.keys()
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)
