"""Equal models that are built otherwise: each layer that can be compared is, and none is called different."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import converters
import zoo
from converters import compare
from tests.converters.comparison.test_compare import T, compared, findings, variables
from tests.equivalence import randomise

RANDOM = np.random.default_rng(0)
SEQUENCE, IMAGE = RANDOM.normal(size=(2, 5, 4)), RANDOM.normal(size=(2, 4, 3, 4))


class Extended(nn.Dense):
    """A layer that runs the call of the one it extends, as `zoo.BatchNorm` does."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return super().__call__(x)


class Layers(nn.Module):
    def setup(self) -> None:
        self.norm = zoo.BatchNorm()
        self.attn = nn.MultiHeadDotProductAttention(2)
        self.fc = Extended(3)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc(self.attn(self.norm(x, use_running_average=True)))


class LayersTwin(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = T.BatchNorm1d(4)
        self.attn = T.MultiheadAttention(4, 2, batch_first=True)
        self.fc = T.Linear(4, 3)

    def forward(self, x):
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return self.fc(self.attn(x, x, x)[0])


def test_layers_that_extend_others_are_called_once() -> None:
    comparison = compared(randomise(LayersTwin()), Layers(), SEQUENCE)
    assert comparison.ok, str(comparison)
    assert [row.layer for row in comparison.rows] == ["norm", "attn", "fc"]
    assert comparison.notes == ()


class Made(nn.Module):
    """A Flax model of named layers and a function of them."""

    layers: Any
    call: Any

    def setup(self) -> None:
        for name, layer in self.layers.items():
            setattr(self, name, layer.clone())

    def __call__(self, x: jax.Array) -> Any:
        return self.call(self, x)

    def encode(self, x: jax.Array) -> jax.Array:
        return self.encoder(x)


class MadeTwin(T.Module):
    def __init__(self, layers: Any, call: Any) -> None:
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: torch.Tensor) -> Any:
        return self.call(self, x)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x)


class NormAct(T.BatchNorm2d):
    """As timm's BatchNormAct2d."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(super().forward(x))


def shuffled(x: jax.Array) -> jax.Array:
    b, h, w, _ = x.shape
    return x.reshape(b, h, w, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, 3)


NORM = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)
# What is built otherwise: Flax's layers and function, PyTorch's, the input.
EQUAL: dict[str, tuple[dict[str, nn.Module], Any, dict[str, Any], Any, np.ndarray]] = {
    "activation inside a layer": (
        {"conv": nn.Conv(4, (1, 1)), "bn": zoo.BatchNorm(use_running_average=True), "fc": nn.Dense(2)},
        lambda m, x: m.fc(nn.relu(m.bn(m.conv(x))).mean((1, 2))),
        {"conv": T.Conv2d(4, 4, 1), "bn": NormAct(4), "fc": T.Linear(4, 2)},
        lambda m, x: m.fc(m.bn(m.conv(x)).mean((2, 3))),
        IMAGE,
    ),
    "pixels in one axis": (
        {"conv": nn.Conv(4, (1, 1)), "norm": NORM(), "fc": nn.Dense(3)},
        lambda m, x: m.fc(m.norm(m.conv(x)).reshape(len(x), -1, 4)),
        {"conv": T.Conv2d(4, 4, 1), "norm": T.LayerNorm(4), "fc": T.Linear(4, 3)},
        lambda m, x: m.fc(m.norm(m.conv(x).flatten(2).transpose(1, 2))),
        IMAGE,
    ),
    "padding by a function": (
        {"conv": nn.Conv(4, (3,), padding="CAUSAL"), "same": nn.Conv(4, (3,), padding="REFLECT")},
        lambda m, x: m.same(m.conv(x)),
        {"conv": T.Conv1d(4, 4, 3), "same": T.Conv1d(4, 4, 3)},
        lambda m, x: m.same(F.pad(m.conv(F.pad(x, (2, 0))), (1, 1), "reflect")),
        SEQUENCE,
    ),
    "time in another place": (
        {"fc": nn.Dense(4), "conv": nn.Conv(4, (1,))},
        lambda m, x: m.conv(m.fc(x)),
        {"fc": T.Linear(4, 4), "conv": T.Conv1d(4, 4, 1)},
        lambda m, x: m.conv(m.fc(x).transpose(1, 2)).transpose(1, 2),
        SEQUENCE,
    ),
    "calls in another order": (
        {"fc": nn.Dense(4)},
        lambda m, x: m.fc(x[:, :2]).sum(1) - m.fc(x[:, 2:]).sum(1),
        {"fc": T.Linear(4, 4)},
        lambda m, x: -m.fc(x[:, 2:]).sum(1) + m.fc(x[:, :2]).sum(1),
        SEQUENCE,
    ),
    "one call for two": (
        {"fc": nn.Dense(4), "out": nn.Dense(4)},
        lambda m, x: m.out(nn.gelu(m.fc(x), approximate=False)),
        {"fc": T.Linear(4, 4), "out": T.Linear(4, 4)},
        lambda m, x: m.out(torch.cat([F.gelu(m.fc(part)) for part in (x[:, :2], x[:, 2:])], 1)),
        SEQUENCE,
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_models_agree(name: str) -> None:
    layers, call, theirs, torch_call, x = EQUAL[name]
    comparison = compared(randomise(MadeTwin(theirs, torch_call)), Made(layers, call), x)
    assert comparison.ok, str(comparison)
    assert comparison.output.output.relative <= 1e-12
    expected = [layer for layer in layers if name != "one call for two" or layer == "out"]
    assert list(dict.fromkeys(row.layer for row in comparison.rows)) == expected


def test_an_activation_inside_a_layer_is_told() -> None:
    layers, call, theirs, torch_call, x = EQUAL["activation inside a layer"]
    comparison = compared(randomise(MadeTwin(theirs, torch_call)), Made(layers, call), x)
    assert [row.agrees_again for row in comparison.rows] == ["", "fc", ""]
    assert "agrees again at fc" in str(comparison)


def test_a_layer_that_nothing_comes_of_must_agree_itself() -> None:
    layers = {"conv": nn.Conv(4, (3,), padding="SAME"), "scale": nn.Dense(4)}
    twin = randomise(
        MadeTwin(
            {"conv": T.Conv1d(4, 4, 3, padding=1, padding_mode="circular"), "scale": T.Linear(4, 4)},
            lambda m, x: x + m.scale(m.conv(x).transpose(1, 2)).transpose(1, 2),
        )
    )
    T.init.zeros_(twin.scale.weight)
    comparison = compared(twin, Made(layers, lambda m, x: x + m.scale(m.conv(x))), SEQUENCE)
    assert comparison.output.output.relative <= 1e-12
    assert not comparison.ok
    assert comparison.first_divergence.layer == "conv"
    assert ("conv", "padding's content") in findings(comparison)


def test_pixel_shuffle_with_its_channels_moved_agrees() -> None:
    names = [converters.Unflatten(f"conv.{leaf}", (3, 2, 2), 0) for leaf in ("weight", "bias")]
    twin = MadeTwin({"conv": T.Conv2d(4, 12, 1)}, lambda m, x: F.pixel_shuffle(m.conv(x), 2))
    ours = Made({"conv": nn.Conv(12, (1, 1))}, lambda m, x: shuffled(m.conv(x)))
    comparison = compared(randomise(twin), ours, IMAGE, names=names)
    assert comparison.ok, str(comparison)
    assert comparison.rows[0].agrees_again == "the output"


def test_one_method_of_both_models_is_compared() -> None:
    twin = randomise(MadeTwin({"encoder": T.Linear(4, 3), "decoder": T.Linear(3, 4)}, None))
    module = Made({"encoder": nn.Dense(3), "decoder": nn.Dense(4)}, lambda m, x: m.decoder(m.encoder(x)))
    made = variables(twin, module, SEQUENCE)
    comparison = compare(twin, module, made, SEQUENCE, method="encode", torch_method="encode")
    assert comparison.ok, str(comparison)
    assert [row.layer for row in comparison.rows] == ["encoder"]
    assert comparison.notes == (
        "tensors that PyTorch's method does not read: decoder.weight, decoder.bias",
        "variables that encode does not use: params/decoder/bias, params/decoder/kernel",
    )
    made["params"]["encoder"]["bias"] += 1
    assert not compare(twin, module, made, SEQUENCE, method="encode", torch_method="encode").ok


def test_names_that_differ_give_a_draft_and_a_comparison() -> None:
    twin = randomise(MadeTwin({"a": T.Linear(4, 3), "b": T.Linear(3, 2)}, lambda m, x: m.b(m.a(x))))
    module = Made({"first": nn.Dense(3), "second": nn.Dense(2)}, lambda m, x: m.second(m.first(x)))
    made = variables(twin, module, SEQUENCE, names=[("first", "a"), ("second", "b")])
    comparison = compare(twin, module, made, SEQUENCE)
    assert not comparison.ok
    (finding,) = comparison.findings
    assert finding.setting == "names"
    assert "with which all fits" in finding.flax
    assert [row.torch_name for row in comparison.rows] == ["a", "b"]
    assert comparison.first_divergence is None


@pytest.mark.parametrize("output", ["nothing", "no number"])
def test_a_comparison_of_nothing_is_not_ok(output: str) -> None:
    layers: tuple[Any, Any] = {"fc": nn.Dense(3)}, {"fc": T.Linear(4, 3)}
    call = (lambda m, x: m.fc(x) * np.nan) if output == "no number" else (lambda m, x: (m.fc(x), ())[1])
    comparison = compared(randomise(MadeTwin(layers[1], call)), Made(layers[0], call), SEQUENCE)
    assert not comparison.ok
    assert [row.layer for row in comparison.rows] == ["fc"]


def test_an_output_that_agrees_without_a_layer_that_was_compared_is_not_ok() -> None:
    """Nothing is known of the layers' settings then, which train mode would show."""
    layers, twins = {"fc": nn.Dense(3)}, {"fc": T.Linear(4, 3)}
    theirs = randomise(MadeTwin(twins, lambda m, x: F.linear(x, m.fc.weight, m.fc.bias)))
    comparison = compared(theirs, Made(layers, lambda m, x: m.fc(x)), SEQUENCE)
    assert comparison.output.output.relative <= 1e-12
    assert not comparison.ok
    assert [finding.setting for finding in comparison.findings] == ["layers"]
    assert comparison.notes == ("fc: called 1 times, by PyTorch 0 times",)


def test_what_only_training_shows_is_found_however_often_a_layer_is_called() -> None:
    layers = {"bn": zoo.BatchNorm(use_running_average=True, momentum=0.99), "fc": nn.Dense(3)}
    twins = {"bn": T.BatchNorm1d(4), "fc": T.Linear(4, 3)}
    theirs = randomise(MadeTwin(twins, lambda m, x: m.fc(torch.stack([m.bn(part) for part in x]))))
    comparison = compared(theirs, Made(layers, lambda m, x: m.fc(m.bn(x))), SEQUENCE)
    assert findings(comparison) == {("bn", "momentum")}
    assert comparison.notes == ("bn: called 1 times, by PyTorch 2 times",)
    assert [row.layer for row in comparison.rows] == ["fc"]


def test_a_wrong_setting_behind_a_tiny_scale_is_found_though_the_output_agrees() -> None:
    layers = {"norm": partial(NORM, epsilon=1e-6)(), "fc": nn.Dense(4)}
    twins = {"norm": T.LayerNorm(4), "fc": T.Linear(4, 4)}

    def call(m: Any, x: Any) -> Any:
        return x + 1e-9 * m.fc(m.norm(x))

    comparison = compared(randomise(MadeTwin(twins, call)), Made(layers, call), SEQUENCE)
    assert comparison.output.output.relative <= 1e-12
    assert comparison.first_divergence.layer == "norm"
    assert ("norm", "epsilon") in findings(comparison)


def test_outputs_in_another_order_are_different() -> None:
    layers = {"a": nn.Dense(3), "b": nn.Dense(3)}
    twins = {"a": T.Linear(4, 3), "b": T.Linear(4, 3)}
    theirs = randomise(MadeTwin(twins, lambda m, x: (m.a(x), m.b(x))))
    comparison = compared(theirs, Made(layers, lambda m, x: (m.b(x), m.a(x))), SEQUENCE)
    assert not comparison.ok
    assert comparison.first_divergence is comparison.output
