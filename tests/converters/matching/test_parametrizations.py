"""Weights that PyTorch computes of other tensors: spectral and weight norm, orthogonal, pruned, adapted."""

import warnings
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import torch
from torch.nn import utils
from torch.nn.utils import parametrizations, parametrize, prune

from converters import ConversionError, Orthogonalize, convert, match, to_torch

T = torch.nn
X = np.random.default_rng(0).normal(size=(2, 5, 7, 4)).astype(np.float32)


class Net(nn.Module):
    layer: Callable[..., nn.Module]

    def setup(self) -> None:
        self.fc = self.layer()

    def __call__(self, x: jax.Array) -> Any:
        return self.fc(x)


def pruned(layer: T.Module) -> T.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


WRAPPERS: dict[str, Callable[..., T.Module]] = {
    "spectral norm": parametrizations.spectral_norm,
    "the older spectral norm": utils.spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "weight norm over another axis": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "weight norm over all": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "the older weight norm": utils.weight_norm,
    "the older weight norm over all": lambda layer: utils.weight_norm(layer, dim=None),
    "orthogonal": parametrizations.orthogonal,
    "pruning": pruned,
}
LAYERS: dict[str, tuple[Callable[[], T.Module], Callable[..., nn.Module]]] = {
    "Dense": (lambda: T.Linear(4, 6), lambda: nn.Dense(6)),
    "square Dense": (lambda: T.Linear(4, 4), lambda: nn.Dense(4)),
    "square Conv": (lambda: T.Conv2d(4, 4, 3), lambda: nn.Conv(4, (3, 3), padding="VALID")),
    "ConvTranspose": (
        lambda: T.ConvTranspose2d(4, 6, 3),
        lambda: nn.ConvTranspose(6, (3, 3), padding="VALID", transpose_kernel=True),
    ),
}


def state_dict(layer: T.Module) -> dict[str, np.ndarray]:
    return {f"fc.{name}": tensor.detach().numpy() for name, tensor in layer.state_dict().items()}


def wrapped(wrapper: str, layer: T.Module) -> T.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the older functions are deprecated
        return WRAPPERS[wrapper](layer).eval()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_effective_weight_is_computed_and_like_gives_its_parts_back(wrapper: str, layer: str) -> None:
    make, flax = LAYERS[layer]
    theirs = wrapped(wrapper, make())
    x = torch.from_numpy(X)
    with torch.no_grad():  # a weight of the older functions is computed when the layer is called
        theirs(x if "Dense" in layer else x.movedim(-1, 1))
    expected = theirs.weight.detach().numpy()
    tensors = state_dict(theirs)
    variables = convert(tensors, Net(flax), X)
    plain = to_torch(variables, Net(flax), X)
    assert list(plain) == ["fc.weight", "fc.bias"]
    np.testing.assert_allclose(plain["fc.weight"], expected, rtol=1e-5, atol=1e-6 * abs(expected).max())
    back = to_torch(variables, Net(flax), X, like=tensors)
    assert list(back) == list(tensors)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("make", [T.Conv2d, T.ConvTranspose2d])
def test_trained_vectors_tell_the_axis_of_a_spectral_norm(make: Callable[..., T.Module]) -> None:
    layer = parametrizations.spectral_norm(make(4, 4, 3)).eval()
    flax = nn.ConvTranspose if make is T.ConvTranspose2d else nn.Conv
    net = Net(lambda: nn.Sequential([flax(4, (3, 3), name="0"), nn.ConvTranspose(4, (3, 3), name="1")]))
    tensors = {name.replace("fc.", "0."): tensor for name, tensor in state_dict(layer).items()}
    other = {"1.weight": np.ones((4, 4, 3, 3), np.float32), "1.bias": np.ones(4, np.float32)}
    found = to_torch(convert(tensors | other, net, X), net, X)["0.weight"]
    np.testing.assert_allclose(found, layer.weight.detach(), atol=1e-6)


def test_a_changed_weight_goes_back_through_weight_norm_and_pruning_but_not_through_spectral_norm() -> None:
    net = Net(lambda: nn.Dense(6))
    for wrapper in ("weight norm", "pruning"):
        tensors = state_dict(wrapped(wrapper, T.Linear(4, 6)))
        variables = jax.tree.map(lambda array: array * 2, convert(tensors, net, X))
        back = to_torch(variables, net, X, like=tensors)
        again = convert(back, net, X)["params"]["fc"]["kernel"]
        np.testing.assert_allclose(again, variables["params"]["fc"]["kernel"], rtol=1e-6)
    tensors = state_dict(wrapped("spectral norm", T.Linear(4, 6)))
    variables = jax.tree.map(lambda array: array * 2, convert(tensors, net, X))
    with pytest.raises(ConversionError, match=r"fc\.weight has changed, and .* leave like= out"):
        to_torch(variables, net, X, like=tensors)


def test_the_note_says_what_was_computed() -> None:
    tensors = state_dict(wrapped("spectral norm", T.Linear(4, 6)))
    notes = match(tensors, Net(lambda: nn.Dense(6)), X).notes
    assert (
        "computed 1 weight from the parts of spectral norm: fc.weight; only like= gives the parts back"
        in notes
    )


def test_no_name_leads_to_a_weight_without_its_factor() -> None:
    tensors = state_dict(wrapped("pruning", T.Linear(4, 6)))
    with pytest.raises(ConversionError, match=r"missing    fc\.weight_orig.* a part of fc\.weight, which"):
        convert(tensors, Net(lambda: nn.Dense(6)), X, names=[("weight$", "weight_orig")], ignore=[".*_mask"])


class Doubled(T.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def test_a_parametrization_that_nobody_knows_is_refused_by_name() -> None:
    layer = T.Linear(4, 6)
    parametrize.register_parametrization(layer, "weight", Doubled())
    with pytest.raises(ConversionError, match=r"computed   fc\.weight: .*remove_parametrizations") as refused:
        convert(state_dict(layer), Net(lambda: nn.Dense(6)), X)
    assert not refused.value.draft


MAPS = [
    (name, rows, columns, trivialized)
    for name in ("matrix_exp", "cayley", "householder")
    for rows, columns in ((6, 6), (8, 4), (4, 8))
    for trivialized in (True, False)
]


@pytest.mark.parametrize(("name", "rows", "columns", "trivialized"), MAPS)
def test_a_trained_orthogonal_weight_needs_its_map(
    name: str, rows: int, columns: int, trivialized: bool
) -> None:
    torch.manual_seed(0)

    def orthogonal() -> T.Module:
        layer = T.Linear(columns, rows)
        return parametrizations.orthogonal(
            layer, orthogonal_map=name, use_trivialization=trivialized
        ).double()

    layer, net, x = orthogonal(), Net(lambda: nn.Dense(rows)), np.ones((1, columns))
    original = layer.parametrizations.weight.original
    with torch.no_grad():
        off = torch.randn(original.shape, dtype=torch.float64) / 4
        original.copy_(torch.where(torch.eye(*original.shape) > 0, original, off))
    tensors = state_dict(layer)
    with pytest.raises(ConversionError, match=r"Orthogonalize|remove_parametrizations"):
        convert(tensors, net, x)
    rules = [Orthogonalize("fc.weight", name, trivialized)]
    variables = convert(tensors, net, x, rules=rules)
    expected = layer.weight.detach().numpy()
    np.testing.assert_allclose(variables["params"]["fc"]["kernel"].T, expected, atol=1e-14)
    back = to_torch(variables, net, x, rules=rules, like=tensors)
    assert all(np.array_equal(back[key], tensors[key]) for key in tensors)
    if trivialized or name == "householder":
        again = orthogonal()
        made = to_torch(variables, net, x, rules=rules)
        again.load_state_dict({key[3:]: torch.from_numpy(tensor) for key, tensor in made.items()})
        np.testing.assert_allclose(again.weight.detach(), expected, atol=1e-14)
    else:  # PyTorch has no inverse of it either
        with pytest.raises(ConversionError, match="leave the rule out"):
            to_torch(variables, net, x, rules=rules)


def test_adapters_that_are_not_merged_are_refused_unless_left_out_on_purpose() -> None:
    tensors = {
        f"fc.{name}": np.ones(shape, np.float32)
        for name, shape in (
            ("base_layer.weight", (6, 4)),
            ("base_layer.bias", (6,)),
            ("lora_A.default.weight", (2, 4)),
            ("lora_B.default.weight", (6, 2)),
        )
    }
    net, names = Net(lambda: nn.Dense(6)), [(r"^fc\.", "fc.base_layer.")]
    for given in ([], names):
        with pytest.raises(ConversionError, match=r"LoRA.*merge_and_unload") as refused:
            convert(tensors, net, X, names=given)
        assert not refused.value.draft
    base = convert(tensors, net, X, names=names, ignore=[r".*\.lora_.*"])
    assert base["params"]["fc"]["kernel"].shape == (4, 6)


class Normalised(nn.Module):
    layer: Callable[..., nn.Module]
    axes: int | None = -1

    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        return nn.WeightNorm(self.layer(), feature_axes=self.axes, epsilon=0, name="fc")(x)


@pytest.mark.parametrize(
    ("layer", "dim", "flax", "axis"),
    [
        (
            lambda: T.ConvTranspose1d(4, 6, 4, stride=2),
            0,
            lambda: nn.ConvTranspose(6, (4,), strides=(2,), padding="VALID"),
            -2,
        ),
        (
            lambda: T.ConvTranspose1d(4, 6, 4, stride=2),
            2,
            lambda: nn.ConvTranspose(6, (4,), strides=(2,), padding="VALID"),
            0,
        ),
        (lambda: T.Conv1d(4, 6, 4), 2, lambda: nn.Conv(6, (4,), padding="VALID"), 0),
        (lambda: T.Conv1d(4, 6, 4), None, lambda: nn.Conv(6, (4,), padding="VALID"), None),
    ],
    ids=["over the inputs", "over flipped taps", "over the taps", "over all"],
)
def test_weight_norm_of_flax_over_any_axis(layer: Any, dim: int | None, flax: Any, axis: int | None) -> None:
    theirs = parametrizations.weight_norm(layer(), dim=dim)
    with torch.no_grad():
        gain = theirs.parametrizations.weight.original0
        gain.mul_(1 + torch.arange(gain.numel()).reshape(gain.shape))
    tensors, net, x = state_dict(theirs), Normalised(flax, axis), X[:, 0]
    variables = convert(tensors, net, x)
    expected = theirs(torch.from_numpy(x).movedim(-1, 1)).movedim(1, -1).detach().numpy()
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=1e-5 * abs(expected).max())
    back = to_torch(variables, net, x)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


def test_flax_s_own_spectral_norm_is_refused_with_what_to_use() -> None:
    class Spectral(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> Any:
            return nn.SpectralNorm(nn.Dense(6), name="fc")(x, update_stats=False)

    with pytest.raises(ConversionError, match="Use the layer inside it alone"):
        convert({}, Spectral(), X)
