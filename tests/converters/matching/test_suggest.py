"""Rules for tensors of another shape or order of axes: that errors name them, and that they are right."""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from converters import (
    ConversionError,
    Keep,
    Reshape,
    Transpose,
    convert,
    match,
    read_names,
    to_torch,
    write_names,
)

X = np.ones((1, 6, 9, 4), np.float32)


class Own(nn.Module):
    name_: str
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        return x.sum() * self.param(self.name_, nn.initializers.ones, self.shape)


class Layer(nn.Module):
    make: Callable[[], nn.Module]

    def setup(self) -> None:
        self.layer = self.make()

    def __call__(self, x: jax.Array) -> Any:
        return self.layer(x)


def norm() -> nn.Module:
    return nn.LayerNorm(reduction_axes=(1, 2, 3), feature_axes=(1, 2, 3))


CASES: dict[
    str, tuple[nn.Module, dict[str, tuple[int, ...]], tuple[Any, ...], Callable[[np.ndarray], Any]]
] = {
    "LayerScale": (
        Own("scale", (4,)),
        {"scale": (4, 1, 1)},
        (Reshape("scale", (0, 1, 1)),),
        lambda tensor: tensor[:, 0, 0],
    ),
    "a table of positions": (
        Own("pos", (1, 6, 9, 4)),
        {"pos": (1, 4, 6, 9)},
        (Transpose("pos", (0, 2, 3, 1)),),
        lambda tensor: tensor.transpose(0, 2, 3, 1),
    ),
    "attention of a graph": (
        Own("att", (2, 4)),
        {"att": (1, 2, 4)},
        (Reshape("att", (1, 2, 4)),),
        lambda tensor: tensor[0],
    ),
    "a scalar": (
        Own("temperature", ()),
        {"temperature": (1,)},
        (Reshape("temperature", (1,)),),
        lambda tensor: tensor[0],
    ),
    "a 1x1 convolution as Dense": (
        Layer(lambda: nn.Dense(8, use_bias=False)),
        {"layer.weight": (8, 4, 1, 1)},
        (Reshape("layer.weight", (0, 0, 1, 1)),),
        lambda tensor: tensor[..., 0, 0].T,
    ),
    "a Linear as 1x1 convolution": (
        Layer(lambda: nn.Conv(8, (1, 1), use_bias=False)),
        {"layer.weight": (8, 4)},
        (Reshape("layer.weight", (0, 0)),),
        lambda tensor: tensor.T[None, None],
    ),
    "a graph's convolution, (in, out)": (
        Layer(lambda: nn.Dense(8, use_bias=False)),
        {"layer.weight": (4, 8)},
        (Transpose("layer.weight", (1, 0)),),
        lambda tensor: tensor,
    ),
    "a norm over channels, height and width": (
        Layer(lambda: nn.LayerNorm(reduction_axes=(1, 2, 3), feature_axes=(1, 2, 3), use_bias=False)),
        {"layer.weight": (4, 6, 9)},
        (Transpose("layer.weight", (1, 2, 0)),),
        lambda tensor: tensor.transpose(1, 2, 0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_error_names_the_rule_that_fits(case: str) -> None:
    module, shapes, rules, expected = CASES[case]
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    with pytest.raises(
        ConversionError, match=rf"misshapen.*\n.*\n  converters\.{re.escape(str(rules[0]))}"
    ) as refused:
        convert(tensors, module, X)
    assert refused.value.draft == rules
    variables = convert(tensors, module, X, names=rules)
    (tensor,), (array,) = tensors.values(), jax.tree.leaves(variables)
    assert np.array_equal(array, expected(tensor))
    back = to_torch(variables, module, X, names=rules)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


class Blocks(nn.Module):
    def setup(self) -> None:
        self.blocks = [nn.Dense(4, use_bias=False) for _ in range(3)]

    def __call__(self, x: jax.Array) -> jax.Array:
        for block in self.blocks:
            x = block(x)
        return x


def test_one_rule_is_for_all_tensors_of_a_stack() -> None:
    tensors = {f"blocks.{index}.weight": np.ones((4, 4, 1, 1), np.float32) for index in range(3)}
    with pytest.raises(ConversionError) as refused:
        convert(tensors, Blocks(), X)
    assert refused.value.draft == (Reshape("blocks.*.weight", (0, 0, 1, 1)),)
    convert(tensors, Blocks(), X, names=refused.value.draft)


def test_a_prelu_of_several_slopes_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConversionError, match="one slope; a layer with"):
        convert({"layer.weight": np.ones(4, np.float32)}, Layer(nn.PReLU), X)


@pytest.mark.parametrize(
    ("module", "name"), [(Layer(norm), "layer.weight"), (Own("const", (1, 4, 4, 4)), "const")]
)
def test_equal_axes_that_nothing_tells_apart_are_warned_about(module: nn.Module, name: str) -> None:
    x = np.ones((1, 4, 4, 4), np.float32)
    cube = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    tensors = {name: cube[None]} if name == "const" else {name: cube, "layer.bias": cube + 1}
    with pytest.warns(UserWarning, match=rf"the axes of {name}.* were taken .*Transpose.*Keep"):
        convert(tensors, module, x)
    rule = Transpose(name, (0, 2, 3, 1) if name == "const" else (1, 2, 0))
    for chosen in (rule, Keep(name)):
        convert(tensors, module, x, names=[chosen, Keep("layer.bias")] if "layer" in name else [chosen])


def test_the_axes_of_a_param_of_ones_own_are_noted() -> None:
    tensors = {"table": np.ones((4, 6), np.float32)}
    assert any(
        "the axes of table were taken" in note for note in match(tensors, Own("table", (4, 6)), X).notes
    )
    assert not match(tensors, Own("table", (4, 6)), X, names=[Keep("table")]).notes


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (Reshape("layer.weight", (3, -1)), "does not fit the 32 numbers"),
        (Reshape("layer.weight", (-1, -1)), "does not fit the 32 numbers"),
        (Transpose("layer.weight", (0, 0)), "does not fit the 2 axes"),
        (Keep("other.weight"), "matches no tensor"),
    ],
)
def test_rules_that_do_not_fit_are_refused(rule: Any, complaint: str) -> None:
    with pytest.raises(ConversionError, match=complaint):
        convert({}, Layer(lambda: nn.Dense(8)), X, names=[rule])


def test_names_files_hold_these_rules(tmp_path: Any) -> None:
    rules = (Reshape("a.*", (-1, 1, 1)), Transpose("b"), Transpose("c", (1, 0)), Keep("d"))
    write_names(tmp_path / "names.toml", rules)
    assert read_names(tmp_path / "names.toml") == rules
