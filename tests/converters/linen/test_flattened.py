"""Layers that read a flattened map, or make one: which are found, and that a conversion asks about them."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from converters import ConversionError, Keep, Unflatten, convert, to_torch
from converters.linen import inspect_module

T = torch.nn
X = np.random.default_rng(0).random((2, 8, 10, 3), np.float32)


class Net(nn.Module):
    body: Callable[[jax.Array], Any]

    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        return self.body(x)


def conv(x: jax.Array) -> jax.Array:
    return nn.Conv(4, (3, 3), padding=1, name="conv")(x)


def flat(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1)


def fc(x: jax.Array) -> jax.Array:
    return nn.Dense(5, name="fc")(x)


def through_all(x: jax.Array) -> jax.Array:
    x = nn.BatchNorm(use_running_average=True)(nn.gelu(conv(x)))
    x = nn.max_pool(x, (2, 2), strides=(2, 2))
    return fc(nn.Dropout(0.5, deterministic=True)(flat(x)))


def made(x: jax.Array, *, channels_first: bool) -> jax.Array:
    x = nn.Dense(4 * 5 * 6, name="fc")(x.mean((1, 2)))
    x = x.reshape(-1, 6, 4, 5).transpose(0, 2, 3, 1) if channels_first else x.reshape(-1, 4, 5, 6)
    return nn.ConvTranspose(3, (4, 4))(nn.relu(x))


FOUND: dict[str, tuple[Callable[[jax.Array], Any], tuple[int, ...], int]] = {
    "a Dense after a convolution": (lambda x: fc(flat(conv(x))), (4, 8, 10), 1),
    "through norms, activations, pools and dropout": (through_all, (4, 4, 5), 1),
    "a pool of the inputs": (lambda x: fc(flat(nn.avg_pool(x, (2, 2), strides=(2, 2)))), (3, 4, 5), 1),
    "a DenseGeneral over three axes": (
        lambda x: nn.DenseGeneral(5, axis=(-3, -2, -1), name="fc")(conv(x)),
        (4, 8, 10),
        1,
    ),
    "jnp.ravel of each": (lambda x: fc(jax.vmap(jnp.ravel)(conv(x))), (4, 8, 10), 1),
    "a Dense as 1x1 convolution before": (
        lambda x: fc(flat(nn.Dense(6, name="pointwise")(conv(x)))),
        (6, 8, 10),
        1,
    ),
    "a norm of the vector": (
        lambda x: nn.BatchNorm(use_running_average=True, name="fc")(flat(conv(x))),
        (4, 8, 10),
        0,
    ),
    "a signal's convolution": (
        lambda x: fc(flat(nn.Conv(4, (3,), name="conv")(x[:, 0]))),
        (4, 10),
        1,
    ),
    "a vector that becomes a map": (lambda x: made(x, channels_first=False), (6, 4, 5), 0),
    "a vector that is a part": (
        lambda x: fc(jnp.concatenate([flat(conv(x)), x.mean((1, 2))], -1)),
        (4, 8, 10),
        1,
    ),
}
NOT_FOUND: dict[str, Callable[[jax.Array], Any]] = {
    "a mean over the map": lambda x: fc(conv(x).mean((1, 2))),
    "a pool to one pixel": lambda x: fc(flat(nn.avg_pool(conv(x), (8, 10)))),
    "channels moved first": lambda x: fc(flat(conv(x).transpose(0, 3, 1, 2))),
    "patches as a sequence": lambda x: fc(conv(x).reshape(2, -1, 4)),
    "a sequence that a Dense made": lambda x: fc(flat(nn.Dense(7)(conv(x).reshape(2, -1, 4)))),
    "a vector that becomes a map, channels first": lambda x: made(x, channels_first=True),
}


@pytest.mark.parametrize("case", FOUND)
def test_flattened_maps_are_found(case: str) -> None:
    body, shape, axis = FOUND[case]
    (found,) = inspect_module(Net(body), X).flattened()
    assert (found.path, found.shape, found.axis) == (("fc",), shape, axis)


@pytest.mark.parametrize("case", NOT_FOUND)
def test_there_are_no_false_alarms(case: str) -> None:
    assert inspect_module(Net(NOT_FOUND[case]), X).flattened() == ()


def torch_net() -> T.Module:
    torch.manual_seed(0)
    names = {"conv": T.Conv2d(3, 4, 3, padding=1), "flat": T.Flatten(), "fc": T.Linear(4 * 8 * 10, 5)}
    net = T.Sequential()
    for name, layer in names.items():
        net.add_module(name, layer)
    return net


def test_a_conversion_asks_for_the_line_and_is_right_with_it() -> None:
    theirs, net = torch_net(), Net(lambda x: fc(flat(conv(x))))
    tensors = theirs.state_dict()
    with pytest.raises(
        ConversionError, match=r"flattened  fc\.weight.*\n.*\n.*Unflatten.*\n.*\n.*Keep"
    ) as refused:
        convert(tensors, net, X)
    assert refused.value.draft == (Unflatten("fc.weight", (4, 8, 10)),)
    variables = convert(tensors, net, X, names=refused.value.draft)
    expected = theirs(torch.from_numpy(X).movedim(-1, 1)).detach()
    np.testing.assert_allclose(net.apply(variables, X), expected, atol=1e-6)
    back = to_torch(variables, net, X, names=refused.value.draft)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


def test_a_file_with_channels_last_is_kept_when_that_is_said() -> None:
    tensors, net = torch_net().state_dict(), Net(lambda x: fc(flat(conv(x))))
    variables = convert(tensors, net, X, names=[Keep("fc.weight")])
    assert np.array_equal(variables["params"]["fc"]["kernel"], tensors["fc.weight"].T)


def test_a_vector_that_becomes_a_map_needs_one_rule_for_weight_and_bias() -> None:
    net = Net(lambda x: made(x, channels_first=False))
    tensors = to_torch(net.init(jax.random.key(0), X), net, X)
    with pytest.raises(ConversionError, match=r"fc\.bias: is for a map of 4 x 5 and 6 channels") as refused:
        convert(tensors, net, X)
    assert refused.value.draft == (Unflatten("fc.*", (6, 4, 5), axis=0),)
    convert(tensors, net, X, names=refused.value.draft)


def test_a_part_of_a_vector_is_refused_with_what_to_do() -> None:
    net = Net(FOUND["a vector that is a part"][0])
    tensors = to_torch(net.init(jax.random.key(0), X), net, X)
    with pytest.raises(ConversionError, match="no rule turns a part of a vector") as refused:
        convert(tensors, net, X)
    assert not refused.value.draft
    convert(tensors, net, X, names=[Keep("fc.weight")])


def test_the_program_of_a_window_is_not_one_of_arrays():
    def windows(x: jax.Array) -> jax.Array:
        x = jax.lax.reduce_window(
            conv(x), jnp.array(-jnp.inf), jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        return nn.Conv(5, (1, 1), name="head")(x)

    net = torch.nn.ModuleDict({"conv": T.Conv2d(3, 4, 3), "head": T.Conv2d(4, 5, 1)})
    found = convert(net.state_dict(), Net(windows), X)
    assert found["params"]["head"]["kernel"].shape == (1, 1, 4, 5)
