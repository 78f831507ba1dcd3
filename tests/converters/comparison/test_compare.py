"""A right model passes at 1e-12, and each way to be wrong is found where it is."""

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from torch.nn import functional as F

import converters
from converters import Comparison, compare
from converters.comparison.report import difference
from tests.equivalence import randomise

T = torch.nn
Norm = partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5, momentum=0.9, use_fast_variance=False)


class Net(nn.Module):
    """A small image model; every field is right by default, and each wrong value is one fault."""

    stride: int = 2
    padding: Any = 1
    dilation: int = 1
    groups: int = 2
    epsilon: float = 1e-5
    momentum: float = 0.9
    fast: bool = False
    norms_swapped: bool = False
    count_include_pad: bool = False
    window_padding: int = 1
    approximate: bool = False
    rate: float = 0.1
    dtype: Any = None

    def setup(self) -> None:
        self.conv1 = nn.Conv(8, (3, 3), padding=1)
        self.bn1 = Norm(epsilon=self.epsilon, momentum=self.momentum, use_fast_variance=self.fast)
        self.blocks = [
            nn.Conv(
                8,
                (3, 3),
                strides=self.stride,
                padding=self.padding,
                kernel_dilation=self.dilation,
                feature_group_count=self.groups,
            ),
            nn.Conv(8, (1, 1), padding=0, dtype=self.dtype),
        ]
        self.bn2 = Norm()
        self.fc1 = nn.Dense(8)
        self.drop = nn.Dropout(self.rate, deterministic=True)
        self.fc2 = nn.Dense(8)

    def __call__(self, x: jax.Array) -> jax.Array:
        first, second = (self.bn2, self.bn1) if self.norms_swapped else (self.bn1, self.bn2)
        x = nn.relu(first(self.conv1(x)))
        pad = (self.window_padding, self.window_padding)
        x = nn.max_pool(x, (3, 3), (1, 1), padding=(pad, pad))
        for block in self.blocks:
            x = block(x)
        x = nn.relu(second(x))
        x = nn.avg_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)), count_include_pad=self.count_include_pad)
        x = nn.gelu(self.fc1(x.mean((1, 2))), approximate=self.approximate)
        return self.fc2(self.drop(x))


class Twin(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(3, 8, 3, padding=1)
        self.bn1 = T.BatchNorm2d(8)
        self.relu = T.ReLU(inplace=True)
        self.blocks = T.Sequential(T.Conv2d(8, 8, 3, 2, 1, groups=2), T.Conv2d(8, 8, 1))
        self.bn2 = T.BatchNorm2d(8)
        self.fc1 = T.Linear(8, 8)
        self.drop = T.Dropout(0.1)
        self.fc2 = T.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.relu(self.bn1(self.conv1(x))), 3, 1, 1)
        x = F.avg_pool2d(self.relu(self.bn2(self.blocks(x))), 3, 2, 1, count_include_pad=False)
        return self.fc2(self.drop(F.gelu(self.fc1(x.mean((2, 3))))))


IMAGES = np.random.default_rng(1).random((2, 11, 9, 3))


@pytest.fixture(scope="module")
def twin() -> T.Module:
    return randomise(Twin()).float()


def variables(twin: T.Module, module: nn.Module, *inputs: Any, **options: Any) -> dict[str, Any]:
    return converters.convert(twin.state_dict(), module, *inputs, **options)


def compared(twin: T.Module, module: nn.Module, *inputs: Any, **options: Any) -> Comparison:
    return compare(twin, module, variables(twin, module, *inputs, **options), *inputs, **options)


def faulty(twin: T.Module, **fault: Any) -> Comparison:
    return compare(twin, Net(**fault), variables(twin, Net(), IMAGES), IMAGES)


def findings(comparison: Comparison) -> set[tuple[str, str]]:
    return {(finding.layer, finding.setting) for finding in comparison.findings}


def test_a_right_model_agrees_in_every_layer(twin: T.Module) -> None:
    comparison = faulty(twin)
    assert comparison.ok, str(comparison)
    assert [row.layer for row in comparison.rows] == [
        "conv1", "bn1", "blocks_0", "blocks_1", "bn2", "fc1", "drop", "fc2",
    ]  # fmt: skip
    assert comparison.rows[2].torch_name == "blocks.0"
    assert comparison.largest.output.relative <= 1e-12
    assert comparison.output.output.relative <= 1e-12
    assert all(row.inputs is not None and row.inputs.relative <= 1e-12 for row in comparison.rows)
    assert comparison.notes == (
        "training: the running variance is biased here, unbiased in PyTorch: bn1, bn2",
    )
    assert "agree within 1e-12" in str(comparison)


@pytest.mark.parametrize(
    ("fault", "layer", "setting"),
    [
        ({"epsilon": 1e-3}, "bn1", "epsilon"),
        ({"padding": ((0, 2), (0, 2))}, "blocks_0", "padding"),
        ({"padding": "VALID"}, "blocks_0", "padding"),
        ({"padding": 2, "dilation": 2}, "blocks_0", "kernel_dilation"),
        ({"stride": 1}, "blocks_0", "strides"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_found_in_its_layer(
    twin: T.Module, fault: dict[str, Any], layer: str, setting: str
) -> None:
    comparison = faulty(twin, **fault)
    assert comparison.first_divergence.layer == layer
    assert comparison.first_divergence.inputs.relative <= 1e-12
    assert (layer, setting) in findings(comparison)
    assert f"{layer} is the first to diverge; its inputs agree" in str(comparison)


@pytest.mark.parametrize(
    ("fault", "layer", "setting"),
    [
        ({"momentum": 0.1}, "bn1", "momentum"),
        ({"fast": True}, "bn1", "use_fast_variance"),
        ({"rate": 0.2}, "drop", "rate"),
    ],
    ids=str,
)
def test_what_outputs_hide_is_found_by_the_audit(
    twin: T.Module, fault: dict[str, Any], layer: str, setting: str
) -> None:
    comparison = faulty(twin, **fault)
    assert comparison.first_divergence is None
    assert (layer, setting) in findings(comparison)
    assert {found for found, _ in findings(comparison)} <= {layer, ""}
    assert not comparison.ok


@pytest.mark.parametrize(
    ("fault", "layer", "between", "setting"),
    [
        ({"approximate": True}, "drop", "between fc1 and drop", "GELU"),
        ({"count_include_pad": True}, "fc1", "between bn2 and fc1", "avg pooling, call 2: count_include_pad"),
    ],
    ids=str,
)
def test_a_wrong_function_is_found_between_two_layers(
    twin: T.Module, fault: dict[str, Any], layer: str, between: str, setting: str
) -> None:
    comparison = faulty(twin, **fault)
    assert comparison.first_divergence.layer == layer
    assert comparison.first_divergence.inputs.relative > 1e-12
    assert findings(comparison) == {("", setting)}
    assert between in comparison.summary


def test_pooling_without_its_padding_is_found(twin: T.Module) -> None:
    comparison = faulty(twin, window_padding=0)
    assert comparison.first_divergence.layer == "blocks_0"
    assert ("", "max pooling, call 1: padding") in findings(comparison)


def test_layers_called_in_another_order_are_found(twin: T.Module) -> None:
    comparison = faulty(twin, norms_swapped=True)
    assert comparison.first_divergence.layer == "bn2"
    assert "call 2 is of bn2 here, of bn1 in PyTorch" in comparison.notes


@pytest.mark.parametrize(
    ("change", "layer", "said"),
    [
        (lambda flat: flat | {"params/fc1/kernel": flat["params/fc1/kernel"].T}, "fc1", "swapped"),
        (
            lambda flat: flat | {"params/conv1/kernel": flat["params/conv1/kernel"].swapaxes(0, 1)},
            "conv1",
            "swapped",
        ),
        (
            lambda flat: (
                flat
                | {f"params/bn1/{name}": flat[f"params/bn2/{name}"] for name in ("scale", "bias")}
                | {f"params/bn2/{name}": flat[f"params/bn1/{name}"] for name in ("scale", "bias")}
            ),
            "bn1",
            "off from bn",
        ),
    ],
    ids=["square kernel", "square window", "norms"],
)
def test_arrays_that_fit_in_the_wrong_place_are_found(
    twin: T.Module, change: Any, layer: str, said: str
) -> None:
    flat = change(flatten_dict(variables(twin, Net(), IMAGES), sep="/"))
    comparison = compare(twin, Net(), unflatten_dict(flat, sep="/"), IMAGES)
    assert comparison.first_divergence.layer == layer
    found = [finding for finding in comparison.findings if finding.layer == layer]
    assert found
    assert all(said in finding.flax for finding in found)


def test_a_layer_that_computes_in_float32_is_found(twin: T.Module) -> None:
    comparison = faulty(twin, dtype=jnp.float32)
    assert comparison.first_divergence.layer == "blocks_1"
    assert ("blocks_1", "the dtype of its output") in findings(comparison)


def test_the_torch_module_stays_as_it_is() -> None:
    twin = randomise(Twin()).float().train()
    before = copy.deepcopy(twin.state_dict())
    compare(twin, Net(), variables(twin, Net(), IMAGES), IMAGES)
    assert all(module.training for module in twin.modules())
    for name, tensor in twin.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])
    assert not any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
        for module in twin.modules()
    )
    assert torch.get_default_dtype() == torch.float32
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float32


def test_a_failing_model_leaves_no_setting_behind(twin: T.Module) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        compare(twin, Net(), variables(twin, Net(), IMAGES), IMAGES, torch_inputs=[IMAGES])
    assert torch.get_default_dtype() == torch.float32
    assert jnp.ones(1).dtype == jnp.float32


def test_a_state_dict_that_does_not_fit_is_a_finding(twin: T.Module) -> None:
    other = copy.deepcopy(twin)
    other.extra = T.Linear(2, 2)
    comparison = compare(other, Net(), variables(twin, Net(), IMAGES), IMAGES)
    assert [finding.flax for finding in comparison.findings] == [
        "left over  extra.weight",
        "left over  extra.bias",
    ]
    assert compare(other, Net(), variables(twin, Net(), IMAGES), IMAGES, ignore=["extra.*"]).ok


def test_nan_and_infinity_count_as_themselves_only() -> None:
    odd = np.array([np.nan, np.inf, 1.0])
    assert difference(odd, odd).absolute == 0
    assert difference(odd, np.array([0.0, np.inf, 1.0])).absolute == np.inf
    assert difference(np.array([1.0]), np.array([np.nan])).relative == np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Net(), Net(), {}, IMAGES), "torch.nn.Module first, not a Net"),
        ((Twin(), Net(), {}, jax.ShapeDtypeStruct((2, 11, 9, 3), "float32")), "give arrays"),
        ((Twin(), Net(), {}, IMAGES), "missing    params/conv1/kernel"),
    ],
    ids=["order", "shapes", "variables"],
)
def test_what_cannot_run_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(converters.ConversionError, match=message):
        compare(*arguments)


def test_tolerance_decides(twin: T.Module) -> None:
    comparison = faulty(twin, epsilon=1e-3)
    assert replace(comparison, tolerance=1.0).first_divergence is None
