"""A right model passes at 1e-12, and each way to be wrong is found where it is."""

import copy
import importlib
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
from tests.cases import CASES, Case
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


class Block(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.gelu(nn.Dense(6, name="fc")(x), approximate=False)


class Step(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return nn.remat(Block)(name="block")(x), None


class Lifted(nn.Module):
    def setup(self) -> None:
        split: dict[str, Any] = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        self.layers = nn.scan(Step, length=3, **split)()
        self.heads = nn.vmap(Block, in_axes=None, out_axes=1, axis_size=2, **split)()

    def __call__(self, x: jax.Array) -> jax.Array:
        x, _ = self.layers(x, None)
        return self.heads(x)


class LiftedTwin(T.Module):
    def __init__(self) -> None:
        super().__init__()

        def block() -> T.Module:
            return T.ModuleDict({"fc": T.Linear(6, 6)})

        self.layers = T.ModuleList(T.ModuleDict({"block": block()}) for _ in range(3))
        self.heads = T.ModuleList(block() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = F.gelu(layer["block"]["fc"](x))
        return torch.stack([F.gelu(head["fc"](x)) for head in self.heads], 1)


def test_each_layer_under_scan_remat_and_vmap_is_compared() -> None:
    comparison = compared(randomise(LiftedTwin()), Lifted(), np.random.default_rng(2).random((4, 6)))
    assert comparison.ok, str(comparison)
    assert [row.torch_name for row in comparison.rows] == [
        *(f"layers.{index}.block.fc" for index in range(3)),
        *(f"heads.{index}.fc" for index in range(2)),
    ]


class Twice(nn.Module):
    times: int = 2

    def setup(self) -> None:
        self.fc = nn.Dense(6)

    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.times):
            x = jnp.tanh(self.fc(x))
        return x


class TwiceTwin(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = T.Linear(6, 6)
        self.again = self.fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.again(torch.tanh(self.fc(x))))


def test_calls_of_a_shared_layer_are_compared_in_order() -> None:
    x = np.random.default_rng(2).random((4, 6))
    twin = randomise(TwiceTwin())
    comparison = compare(twin, Twice(), variables_of_fc(twin), x)
    assert comparison.ok, str(comparison)
    assert [row.layer for row in comparison.rows] == ["fc", "fc"]
    other = compare(twin, Twice(3), variables_of_fc(twin), x)
    assert "fc: called 3 times, by PyTorch 2 times" in other.notes
    assert other.rows == ()
    assert not other.ok


def variables_of_fc(twin: T.Module) -> dict[str, Any]:
    return variables(T.ModuleDict({"fc": twin.fc}), Twice(), np.zeros((4, 6)))


class Attention(nn.Module):
    rate: float = 0.0

    def setup(self) -> None:
        self.attn = nn.MultiHeadDotProductAttention(2, dropout_rate=self.rate, deterministic=True)
        self.norm = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False)

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        return {"normed": self.norm(self.attn(x)), "input": x}


class AttentionTwin(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = T.MultiheadAttention(6, 2)  # time first
        self.norm = T.LayerNorm(6)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"input": x, "normed": self.norm(self.attn(x, x, x)[0])}


def test_time_before_batch_is_an_arrangement() -> None:
    x = np.random.default_rng(3).random((4, 5, 6))
    twin = randomise(AttentionTwin())
    made = variables(twin, Attention(), x)
    comparison = compare(twin, Attention(), made, x, torch_inputs={"x": x.swapaxes(0, 1)})
    assert comparison.ok, str(comparison)
    assert [row.arrangement for row in comparison.rows] == ["batch moved", "batch moved"]
    wrong = compare(twin, Attention(0.1), made, x, torch_inputs={"x": x.swapaxes(0, 1)})
    assert ("attn", "dropout_rate") in findings(wrong)


def test_names_a_prefix_and_tied_tensors_are_those_of_convert() -> None:
    class Tied(T.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = T.ModuleDict({"encoder": T.Linear(6, 6, bias=False)})
            self.model["decoder"] = self.model["encoder"]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.model["encoder"](x))

    class Single(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return jnp.tanh(nn.Dense(6, use_bias=False, name="fc")(x))

    x = np.random.default_rng(4).random((4, 6))
    twin = randomise(Tied())
    made = {"params": {"fc": {"kernel": twin.model["encoder"].weight.detach().numpy().T}}}
    comparison = compare(twin, Single(), made, x, names=[(r"^fc\.", "encoder.")])
    assert comparison.ok, str(comparison)
    assert [row.torch_name for row in comparison.rows] == ["model.encoder"]


def test_a_state_dict_that_does_not_fit_is_a_finding(twin: T.Module) -> None:
    other = copy.deepcopy(twin)
    other.extra = T.Linear(2, 2)
    comparison = compare(other, Net(), variables(twin, Net(), IMAGES), IMAGES)
    assert [finding.flax for finding in comparison.findings] == [
        "left over  extra.weight",
        "left over  extra.bias",
    ]
    assert compare(other, Net(), variables(twin, Net(), IMAGES), IMAGES, ignore=["extra.*"]).ok


def test_transposed_convolutions_have_their_padding_compared() -> None:
    class Up(nn.Module):
        padding: Any

        def setup(self) -> None:
            self.up = nn.ConvTranspose(5, (4, 4), (2, 2), padding=self.padding, transpose_kernel=True)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.up(x)

    class UpTwin(T.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = T.ConvTranspose2d(3, 5, 4, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(x)

    twin = randomise(UpTwin())
    made = variables(twin, Up("SAME"), IMAGES)
    assert compare(twin, Up(((2, 2), (2, 2))), made, IMAGES).ok
    assert compare(twin, Up("SAME"), made, IMAGES).ok
    assert ("up", "padding") in findings(compare(twin, Up("VALID"), made, IMAGES))


def test_nan_and_infinity_count_as_themselves_only() -> None:
    from converters._report import difference

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


def test_the_older_weight_norm_can_be_compared() -> None:
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.WeightNorm(nn.Dense(5, name="fc"), epsilon=0.0)(x)

    class NormedTwin(T.Module):
        def __init__(self) -> None:
            super().__init__()
            with pytest.warns(FutureWarning, match="weight_norm"):
                self.fc = torch.nn.utils.weight_norm(T.Linear(6, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    twin = NormedTwin()
    x = np.random.default_rng(5).random((4, 6))
    comparison = compared(twin, Normed(), x, names=[(r"^WeightNorm_0\.", "fc.")])
    assert comparison.ok, str(comparison)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_models_of_the_zoo_do_not_diverge(case: Case) -> None:
    family = importlib.import_module(f"zoo.{case.family}")
    module, twin = family.create(**case.config), randomise(case.twin())
    names = getattr(family, "TORCH_NAMES", {}).get(case.layout, ())
    with jax.enable_x64(True):
        made = variables(twin, module, *case.inputs, names=names)
        more = case.more(module, made, np.float64)
    theirs = [*(np.moveaxis(x, -1, 1) if x.ndim == 4 else x for x in case.inputs), *more]
    comparison = compare(
        twin, module, made, *case.inputs, torch_inputs=theirs, names=names, rngs=case.rngs
    )  # fmt: skip
    assert comparison.rows
    assert comparison.first_divergence is None, str(comparison)
    assert not [note for note in comparison.notes if note.startswith(("layers", "outputs"))]


def test_tolerance_decides(twin: T.Module) -> None:
    comparison = faulty(twin, epsilon=1e-3)
    assert replace(comparison, tolerance=1.0).first_divergence is None
