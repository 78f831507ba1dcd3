"""Which layers are compared with which, however a model is built, and how axes are arranged."""

import importlib
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from converters import compare
from tests.cases import CASES, Case, each
from tests.converters.comparison.test_compare import IMAGES, T, compared, findings, variables
from tests.equivalence import randomise


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


class Grey(nn.Module):
    def setup(self) -> None:
        self.conv = nn.Conv(4, (3, 3), padding=1)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.conv(x).transpose(0, 3, 1, 2).reshape(len(x), -1)


class GreyTwin(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = T.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).view(len(x), -1)


def test_grey_images_reach_torch_with_their_channels_first() -> None:
    twin, x = randomise(GreyTwin()), np.random.default_rng(0).normal(size=(2, 6, 5, 1))
    assert compared(twin, Grey(), x).ok


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


class Hidden(nn.Module):
    rates: tuple[float, ...]

    def setup(self) -> None:
        self.fc = nn.Dense(6)
        self.drops = [nn.Dropout(rate, deterministic=True) for rate in self.rates]

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.fc(x)
        for drop in self.drops:
            x = drop(x)
        return x


class HiddenTwin(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = T.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.fc(x), 0.1, self.training)
        return F.dropout(x, 0.2 if self.training else 0.0, self.training)


@pytest.mark.parametrize(
    ("rates", "same"),
    [((0.1, 0.2), True), ((0.1,), True), ((), False), ((0.2,), False), ((0.2, 0.1), False)],
    ids=str,
)
def test_dropout_called_as_a_function_is_compared_in_order(rates: tuple[float, ...], same: bool) -> None:
    comparison = compared(randomise(HiddenTwin()), Hidden(rates), np.random.default_rng(6).random((4, 6)))
    assert (("", "dropout rates in order") not in findings(comparison)) is same
    assert ("dropout: 1 rates that PyTorch tells in training only" in comparison.notes) is same


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


# One of each way that layers are found and arranged; `make test-all` has the others.
ARRANGED = ("resnet18", "swin", "clip", "t5", "llama", "segmentation, lraspp", "vae")


@pytest.mark.costly
@each({name: replace(case, slow=name not in ARRANGED) for name, case in CASES.items()})
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
    assert not [note for note in comparison.notes if note.startswith("outputs")]
    unnamed = [note.partition(": ")[2].split(", ") for note in comparison.notes if note.startswith("layers")]
    # Joined on one side and apart on the other, in PyTorch in no module of their own.
    projections = {"qkv", "q_proj", "k_proj", "v_proj", "w12", "fc1_g", "fc1_x"}
    assert {layer.rpartition("/")[2] for layers in unnamed for layer in layers} <= projections
