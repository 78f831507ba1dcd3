"""Which layers a draft takes for which, and how it is written, one kind of network at a time."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import converters
from converters import ConversionError

X = jax.ShapeDtypeStruct((1, 4, 8), np.float32)


def tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def refused(state_dict, module: nn.Module, x=X) -> ConversionError:
    with pytest.raises(ConversionError) as caught:
        converters.convert(state_dict, module, x)
    return caught.value


def fits(state_dict, module: nn.Module, x=X) -> tuple[tuple[str, str], ...]:
    """The draft, which converts the state dict."""
    error = refused(state_dict, module, x)
    assert "a draft of names= with which all fits" in str(error)
    converters.convert(state_dict, module, x, names=error.draft)
    return error.draft


class Nested(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(8)(nn.relu(nn.Dense(8)(x)))  # the outer one is made first and called last


def test_layers_in_nested_calls_are_taken_in_the_order_of_calls_not_of_their_numbers():
    error = refused(tensors({f"{i}.{n}": s for i in (0, 2) for n, s in DENSE}), Nested())
    assert error.draft == ((r"^Dense_1\.", "0."), (r"^Dense_0\.", "2."))
    assert "their order was taken: Dense_1, Dense_0; `converters.compare(" in str(error)


DENSE = (("weight", (8, 8)), ("bias", (8,)))


class Widths(nn.Module):
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = nn.Dense(width, use_bias=False)(x)
        return x


def test_a_narrow_pattern_stands_before_the_wide_one_that_it_is_an_exception_of():
    names = ("stem", "conv1", "conv2", "final")
    shapes = zip(names, ((4, 8), (5, 4), (6, 5), (1, 6)), strict=True)
    draft = fits(tensors({f"{name}.weight": shape for name, shape in shapes}), Widths((4, 5, 6, 1)))
    assert draft == ((r"^Dense_0\.", "stem."), (r"^Dense_3\.", "final."), (r"^Dense_(\d+)\.", r"conv\1."))


def test_no_pattern_comes_twice_with_two_replacements():
    shapes = {"f.1.conv.0.0.weight": (3, 8), "f.1.conv.1.0.weight": (4, 3), "f.1.conv.2.weight": (5, 4)}

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return Widths((3, 4, 5))(x)

    draft = fits(tensors(shapes), Net())
    assert draft == (
        (r"^Widths_0\.Dense_2\.", "f.1.conv.2."),
        (r"^Widths_0\.Dense_(\d+)\.", r"f.1.conv.\1.0."),
    )


def test_parameters_that_a_module_itself_owns_are_matched_one_by_one():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            token = self.param("cls", nn.initializers.zeros, (1, 1, 8))
            x = jnp.concatenate([token, x], 1)
            return x + self.param("pos", nn.initializers.zeros, (1, 5, 8))

    shapes = {"class_token": (1, 1, 8), "encoder.pos_embedding": (1, 5, 8)}
    assert fits(tensors(shapes), Net()) == (("^cls$", "class_token"), ("^pos$", "encoder.pos_embedding"))


def test_own_parameters_have_the_order_in_which_they_are_made_not_the_alphabet_s():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            for index in (2, 10, 1):
                x = x * self.param(f"p{index}", nn.initializers.zeros, (8,))
            return x

    found = tensors({"one": (8,), "two": (8,), "three": (8,)})
    params = converters.convert(found, Net(), X, names=fits(found, Net()))["params"]
    for ours, theirs in zip(("p2", "p10", "p1"), found, strict=True):
        np.testing.assert_array_equal(params[ours], found[theirs])


def test_tensors_that_a_file_holds_under_two_names_count_once(tmp_path):
    weight, other = torch.randn(8, 8), torch.randn(8, 8)
    path = tmp_path / "shared.pth"
    torch.save({"a.fc.weight": weight, "a.all.0.weight": weight, "b.weight": other, "c.weight": other}, path)
    assert fits(path, Widths((8, 8))) == ((r"^Dense_0\.", "a.fc."), (r"^Dense_1\.", "b."))


class Recurrent(nn.Module):
    def setup(self):
        self.rnn = [nn.RNN(nn.GRUCell(8)) for _ in range(2)]

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.rnn:
            x = layer(x)
        return x


class Bidirectional(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.Bidirectional(nn.RNN(nn.OptimizedLSTMCell(4)), nn.RNN(nn.OptimizedLSTMCell(4)))(x)
        return x


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (torch.nn.GRU(8, 8, num_layers=2), Recurrent()),
        (torch.nn.LSTM(8, 4, num_layers=2, bidirectional=True), Bidirectional()),
    ],
)
def test_stacks_of_recurrent_layers_become_one_layer_of_pytorch(theirs, ours):
    found = {f"encoder.{name}": tensor for name, tensor in theirs.state_dict().items()} | {
        "tail.weight": torch.ones(8)
    }
    draft = refused(found, ours).draft
    assert (r"^rnn\.(\d+)\.weight_hh_l0$", r"encoder.weight_hh_l\1") in draft or (
        r"^Bidirectional_(\d+)\.weight_hh_l0_reverse$",
        r"encoder.weight_hh_l\1_reverse",
    ) in draft
    converters.convert(found, ours, X, names=draft, ignore=["tail.weight"])


def test_modules_that_are_declared_in_another_order_than_called_are_told_by_their_neighbors():
    # Declared decoder first. Both have a layer of 8 to 8; only its neighbors say whose is whose.
    shapes = {"decoder.0.weight": (8, 5), "decoder.1.weight": (8, 8), "encoder.0.weight": (8, 8)}
    shapes |= {"encoder.1.weight": (5, 8)}
    error = refused(tensors(shapes), Widths((8, 5, 8, 8)))
    assert error.draft == (
        (r"^Dense_2\.", "decoder.0."),
        (r"^Dense_3\.", "decoder.1."),
        (r"^Dense_(\d+)\.", r"encoder.\1."),
    )
    assert "their order was taken: Dense_0, Dense_3" in str(error)


def test_lists_that_are_called_backwards_are_matched_by_their_numbers():
    class Net(nn.Module):
        def setup(self):
            self.steps = [nn.Dense(8) for _ in range(3)]

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in reversed(self.steps):
                x = layer(x)
            return x

    error = refused(tensors({f"ups.{i}.{n}": s for i in range(3) for n, s in DENSE}), Net())
    assert error.draft == ((r"^steps\.", "ups."),)
    assert "order was taken" not in str(error)


def test_a_layer_without_a_bias_there_is_in_the_draft_and_its_bias_remains():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(3)(nn.BatchNorm(use_running_average=True)(nn.Dense(8)(x)))

    shapes = {"fc.weight": (8, 8), "head.weight": (3, 8), "head.bias": (3,)}
    shapes |= {f"norm.{n}": (8,) for n in ("running_mean", "running_var")}
    error = refused(tensors(shapes), Net())
    assert error.draft == ((r"^Dense_1\.", "fc."), (r"^BatchNorm_0\.", "norm."), (r"^Dense_0\.", "head."))
    assert "with which 3 problems remain" in str(error)
    remaining = re.findall(r"what remains:\n((?:  .*\n)+)", str(error) + "\n")[0]
    assert "missing    fc.bias" in remaining
    assert "missing    norm.weight" in remaining
    assert "these layers have other tensors there, such as no bias" in str(error)


@pytest.mark.parametrize(
    "names",
    [
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ("weight_orig", "weight_u"),
        ("weight_orig", "weight_mask"),
        ("lora_A.default.weight", "lora_B.default.weight", "base_layer.weight"),
    ],
)
def test_no_draft_takes_a_factor_of_a_weight_for_the_weight(names):
    found = tensors({f"proj.{name}": (8, 8) for name in names} | {"norm.weight": (8,), "norm.bias": (8,)})

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.LayerNorm()(nn.Dense(8, use_bias=False)(x))

    draft = refused(found, Net()).draft
    if any("proj" in new for _, new in draft):  # then the weight itself is computed
        kernel = converters.convert(found, Net(), X, names=draft)["params"]["Dense_0"]["kernel"]
        assert not any(np.allclose(kernel.T, tensor) for tensor in found.values())


def test_a_file_whose_names_are_sorted_has_no_order_but_that_of_its_numbers():
    found = tensors({f"net.{i}.{n}": s for i in range(12) for n, s in DENSE})

    class Net(nn.Module):
        def setup(self):
            self.body = [nn.Dense(8) for _ in range(12)]

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.body:
                x = layer(x)
            return x

    module = Net()
    draft = fits(dict(sorted(found.items())), module)
    params = converters.convert(found, module, X, names=draft)["params"]
    np.testing.assert_array_equal(params["body_10"]["kernel"], found["net.10.weight"].T)
