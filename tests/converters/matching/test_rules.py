from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import torch

from converters import ConversionError, Fuse, Split, Unflatten, convert, to_torch
from tests.converters.models import X, random_variables
from tests.converters.test_state_dict import equal
from tests.equivalence import FORWARD, difference, randomise, run_flax, run_torch, state_dict


class Separate(nn.Module):
    """Queries, keys and values of different widths."""

    def setup(self) -> None:
        self.q, self.k, self.v = nn.Dense(6), nn.Dense(3), nn.Dense(3)

    def __call__(self, x: jax.Array) -> Any:
        return self.q(x), self.k(x), self.v(x)


class Fused(nn.Module):
    def setup(self) -> None:
        self.qkv = nn.Dense(12)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.qkv(x)


class Blocks(nn.Module):
    """Separate projections in a list of two, or scanned."""

    scanned: bool = False

    def setup(self) -> None:
        if self.scanned:
            self.blocks = nn.scan(Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)()
        else:
            self.blocks = [Step(), Step()]

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.scanned:
            return self.blocks(x, None)[0]
        for block in self.blocks:
            x, _ = block(x, None)
        return x


class Step(nn.Module):
    def setup(self) -> None:
        self.attn = Separate()

    def __call__(self, x: jax.Array, _: Any) -> Any:
        q, k, v = self.attn(x)
        return x + q + (k * v).sum(-1, keepdims=True), None


QKV = Fuse("*qkv.*", ("*q.*", "*k.*", "*v.*"))


def qkv_state_dict(prefix: str = "", dtype: Any = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {
        f"{prefix}qkv.weight": rng.normal(size=(12, 6)).astype(dtype),
        f"{prefix}qkv.bias": rng.normal(size=12).astype(dtype),
    }


def test_fuse_takes_one_tensor_apart_by_the_modules_sizes() -> None:
    rule = Fuse("qkv.*", ("q.*", "k.*", "v.*"))
    tensors = qkv_state_dict()
    variables = convert(tensors, Separate(), X, rules=[rule])
    np.testing.assert_array_equal(variables["params"]["k"]["kernel"], tensors["qkv.weight"][6:9].T)
    np.testing.assert_array_equal(variables["params"]["v"]["bias"], tensors["qkv.bias"][9:])
    for like in (None, tensors):
        back = to_torch(variables, Separate(), X, rules=[rule], like=like)
        assert sorted(back) == sorted(tensors)
        assert all(back[name].tobytes() == tensors[name].tobytes() for name in tensors)


def test_split_joins_several_tensors() -> None:
    rule = Split("qkv.*", ("q.*", "k.*", "v.*"), sizes=(6, 3, 3))
    tensors = to_torch(random_variables(Separate(), X), Separate(), X)
    variables = convert(tensors, Fused(), X, rules=[rule])
    np.testing.assert_array_equal(variables["params"]["qkv"]["kernel"][:, 6:9], tensors["k.weight"].T)
    back = to_torch(variables, Fused(), X, rules=[rule])
    assert all(back[name].tobytes() == tensors[name].tobytes() for name in tensors)


def test_split_and_fuse_undo_each_other() -> None:
    tensors = qkv_state_dict()
    parts = ("q.*", "k.*", "v.*")
    rules = [Split("qkv.*", parts, sizes=(6, 3, 3)), Fuse("qkv.*", parts)]
    variables = convert(tensors, Fused(), X, rules=rules)
    assert equal(variables, convert(tensors, Fused(), X))
    back = to_torch(variables, Fused(), X, rules=rules)
    assert all(back[name].tobytes() == tensors[name].tobytes() for name in tensors)


@pytest.mark.parametrize("scanned", [False, True], ids=["list", "scan"])
def test_a_star_stands_for_the_same_in_every_pattern(scanned: bool) -> None:
    tensors = {**qkv_state_dict("blocks.0.attn."), **qkv_state_dict("blocks.1.attn.")}
    tensors["blocks.1.attn.qkv.weight"] += 1
    module = Blocks(scanned)
    variables = convert(tensors, module, X, rules=[QKV])
    back = to_torch(variables, module, X, rules=[QKV])
    assert sorted(back) == sorted(tensors)
    assert all(back[name].tobytes() == tensors[name].tobytes() for name in tensors)


def test_rules_may_stand_among_the_names() -> None:
    tensors = {f"attention.{name}": tensor for name, tensor in qkv_state_dict().items()}
    names = [("^", "attention."), Fuse("*.qkv.*", ("*.q.*", "*.k.*", "*.v.*"))]
    variables = convert(tensors, Separate(), X, names=names)
    assert sorted(to_torch(variables, Separate(), X, names=names)) == sorted(tensors)


def test_a_fused_tensor_of_another_size_is_misshapen() -> None:
    tensors = qkv_state_dict()
    tensors["qkv.weight"] = np.zeros((18, 6), np.float32)
    with pytest.raises(ConversionError, match=r"misshapen  qkv\.weight: \(18, 6\) for \(12, 6\)"):
        convert(tensors, Separate(), X, rules=[Fuse("qkv.*", ("q.*", "k.*", "v.*"))])


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Split("qkv.*", ("q.*", "k.*", "v.*"), sizes=(6, 3)), "cannot cut axis 0"),
        (Split("qkv.*", tuple(f"{part}.*" for part in "abcde")), "cannot cut axis 0"),
        (Unflatten("qkv.weight", (2, 5)), "does not fit axis 1"),
        (Unflatten("kqv.weight", (2, 3)), "matches no tensor of the module, .* such as 'qkv.weight'"),
        (Fuse("x.*", ("qkv.*.*", "y.*")), "differ in their number of stars"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: Any, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        to_torch(random_variables(Fused(), X), Fused(), X, rules=[rule])


class Head(nn.Module):
    """A Dense after a flatten of (height, width, channels), as Flax models flatten."""

    def setup(self) -> None:
        self.conv = nn.Conv(4, (3, 3), padding=1)
        self.fc = nn.Dense(5)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv(x)
        return self.fc(x.reshape(len(x), -1))


def test_unflatten_moves_a_permutation_into_the_rows_of_a_dense_layer() -> None:
    twin = randomise(
        torch.nn.ModuleDict(
            {"conv": torch.nn.Conv2d(3, 4, 3, padding=1), "fc": torch.nn.Linear(4 * 6 * 5, 5)}
        )
    )
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3))
    rules = [Unflatten("fc.weight", (4, 6, 5))]
    with jax.enable_x64(True):
        variables = convert(state_dict(twin), Head(), x, rules=rules)
        back = to_torch(variables, Head(), x, rules=rules)
    (output,), *_ = run_flax(Head(), variables, [x])
    expected = run_torch(twin, [np.moveaxis(x, -1, 1)], call=lambda m, x: m["fc"](m["conv"](x).flatten(1)))
    assert difference(output, expected.outputs[0]) <= FORWARD
    assert all(back[name].tobytes() == tensor.tobytes() for name, tensor in state_dict(twin).items())
