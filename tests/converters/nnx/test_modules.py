"""NNX modules as people write them: lists, shared and stacked layers, foreign names, abstract modules."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import converters
from tests.equivalence import randomise, state_dict

T = torch.nn


class TorchBlock(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.dropout = T.Linear(3, 3), T.LayerNorm(3), T.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.fc(x)))


class TorchNet(T.Module):
    """Blocks, the first of whose layers is used again, with a gain of its own."""

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.blocks = T.ModuleList(TorchBlock() for _ in range(count))
        self.gain = T.Parameter(torch.ones(3))
        self.head = self.blocks[0].fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x * self.gain)


class Run(T.Module):
    """Runs the module that it has as `blocks`, on one input or on three that are the same."""

    def __init__(self, blocks: T.Module) -> None:
        super().__init__()
        self.blocks = blocks.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x, x, x)[0] if isinstance(self.blocks, T.MultiheadAttention) else self.blocks(x)


class Attention(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.blocks = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.blocks(x)


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.fc = nnx.Linear(3, 3, rngs=rngs)
        self.norm = nnx.LayerNorm(3, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dropout(self.norm(self.fc(x)))


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.blocks = nnx.List([Block(rngs) for _ in range(3)])
        self.gain = nnx.Param(jnp.ones(3))
        self.head = self.blocks[0].fc

    def __call__(self, x: jax.Array) -> jax.Array:
        for block in self.blocks:
            x = block(x)
        return self.head(x * self.gain)


def stack(make: Callable[[nnx.Rngs], nnx.Module], rngs: nnx.Rngs) -> Any:
    return nnx.split_rngs(splits=3)(nnx.vmap(make))(rngs)


class Stacked(nnx.Module):
    """The same with its blocks as one, whose arrays have one axis more."""

    def __init__(self, rngs: nnx.Rngs, make: Callable[[nnx.Rngs], nnx.Module] = Block) -> None:
        self.blocks = stack(make, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.blocks)


class Single(nnx.Module):
    """A block with nothing but one layer: which of the two is stacked, only names say."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.fc = nnx.Linear(3, 3, rngs=rngs)


def make() -> Net:
    return Net(nnx.Rngs(0))


@pytest.fixture(scope="module")
def twin() -> T.Module:
    return randomise(TorchNet()).float().eval()


@pytest.fixture(scope="module")
def given(twin: T.Module) -> dict[str, np.ndarray]:
    return state_dict(twin)


X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def outputs(module: Any) -> np.ndarray:
    module.eval()
    return np.asarray(module(X))


def test_concrete_abstract_and_made(twin: T.Module, given: dict[str, np.ndarray]) -> None:
    expected = twin(torch.from_numpy(X)).detach().numpy()
    concrete = make()
    state = converters.convert(given, concrete)
    assert isinstance(state, nnx.State)
    nnx.update(concrete, state)
    abstract = nnx.eval_shape(make)
    merged = nnx.merge(nnx.graphdef(abstract), converters.convert(given, abstract))
    made = converters.convert(given, make)
    assert isinstance(made, Net)
    first, *others = map(outputs, (concrete, merged, made))
    np.testing.assert_allclose(first, expected, atol=1e-6)
    assert all(other.tobytes() == first.tobytes() for other in others)
    assert made.head is made.blocks[0].fc
    # Streams of random numbers are as the function makes them.
    key = made.blocks[1].dropout.rngs.key.get_value()
    assert (jax.random.key_data(key) == jax.random.key_data(concrete.blocks[1].dropout.rngs.key[...])).all()


def test_shared_layers_have_both_names_and_one_value(given: dict[str, np.ndarray]) -> None:
    module = converters.convert(given, make)
    assert {n: t.tobytes() for n, t in converters.to_torch(module).items()} == {
        n: t.tobytes() for n, t in given.items()
    }
    once = {name: tensor for name, tensor in given.items() if not name.startswith("head.")}
    nnx.update(module, converters.convert(once, module))
    other = {name: t for name, t in given.items() if not name.startswith("blocks.0.fc.")}
    assert outputs(converters.convert(other, make)).tobytes() == outputs(module).tobytes()
    with pytest.raises(
        converters.ConversionError, match=r"blocks_0/fc/bias and params/head/bias are one array"
    ):
        converters.convert(given | {"head.bias": np.ones(3, np.float32)}, make)


@pytest.mark.parametrize("kind", [Block, Single])
def test_stacked_layers_are_numbered(kind: type[Any], given: dict[str, np.ndarray]) -> None:
    names = [n for n in given if n.startswith("blocks.") and (kind is Block or ".fc." in n)]
    blocks = {name: given[name] for name in names}
    module = converters.convert(blocks, lambda: Stacked(nnx.Rngs(0), kind))
    np.testing.assert_array_equal(module.blocks.fc.kernel[2], blocks["blocks.2.fc.weight"].T)
    back = converters.to_torch(module, like=blocks)
    assert {name: tensor.tobytes() for name, tensor in back.items()} == {
        name: tensor.tobytes() for name, tensor in blocks.items()
    }


def test_errors_drafts_and_initial_values(given: dict[str, np.ndarray]) -> None:
    foreign = {name.replace("blocks.", "encoder.layer."): tensor for name, tensor in given.items()}
    with pytest.raises(converters.ConversionError, match=r"does not fit Net") as error:
        converters.convert(foreign, make)
    module = converters.convert(foreign, make, names=error.value.draft)
    assert outputs(module).tobytes() == outputs(converters.convert(given, make)).tobytes()
    less = {name: tensor for name, tensor in given.items() if name != "gain"}
    with pytest.raises(converters.ConversionError, match=r"missing    gain, for params/gain"):
        converters.convert(less, make)
    for module in (make, make()):
        found = converters.match(less, module, missing=("gain",))
        assert dict(found.arrays())["params", "gain"].tolist() == [1, 1, 1]
    with pytest.raises(converters.ConversionError, match="give the function that makes the module"):
        converters.convert(less, nnx.eval_shape(make), missing=("gain",))
    with pytest.raises(converters.ConversionError, match="leave out example inputs"):
        converters.convert(given, make(), X)
    with pytest.raises(converters.ConversionError, match="found the class Net: call it"):
        converters.convert(given, Net)
    with pytest.raises(converters.ConversionError, match=r"make the random streams inside, as in `lambda"):
        converters.convert(given, partial(Net, nnx.Rngs(0)))


def test_compare(twin: T.Module, given: dict[str, np.ndarray]) -> None:
    module = converters.convert(given, make)
    found = converters.compare(twin, module, None, X)
    assert found.ok, found
    assert [row.layer for row in found.rows][:3] == ["blocks_0/fc", "blocks_0/norm", "blocks_0/dropout"]
    assert not getattr(Net.__call__, "__wrapped__", None)  # nothing stays watched
    module.blocks[1].norm.epsilon = 1e-3
    found = converters.compare(twin, module, nnx.state(module), X)
    assert not found.ok
    assert "epsilon: 0.001, for PyTorch's 1e-05" in str(found)


def test_compare_inside_scan(given: dict[str, np.ndarray]) -> None:
    blocks = {name: tensor for name, tensor in given.items() if name.startswith("blocks.")}
    reference = Run(T.Sequential(*(TorchBlock() for _ in range(3))))
    reference.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in blocks.items()})
    module = converters.convert(blocks, lambda: Stacked(nnx.Rngs(0)))
    found = converters.compare(reference, module, None, X)
    assert found.ok, found
    assert sum(row.layer == "blocks/fc" for row in found.rows) == 3


def test_attention_is_compared_in_float64() -> None:
    attention = randomise(Run(T.MultiheadAttention(8, 2, batch_first=True)))
    module = converters.convert(state_dict(attention), lambda: Attention(nnx.Rngs(0)), dtype="float32")
    x = np.random.default_rng(1).normal(size=(2, 5, 8))
    found = converters.compare(attention.float(), module, None, x)
    assert found.ok, found
    assert [row.layer for row in found.rows] == ["blocks"]


def test_a_flattened_map_is_asked_about() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
            self.fc1, self.fc2 = nnx.Linear(8 * 6, 16, rngs=rngs), nnx.Linear(16, 16, rngs=rngs)

    def made() -> Net:
        return Net(nnx.Rngs(0))

    given = state_dict(
        T.ModuleDict({"conv": T.Conv2d(3, 8, 3), "fc1": T.Linear(48, 16), "fc2": T.Linear(16, 16)})
    )
    with pytest.warns(
        UserWarning, match=r"fc1.weight reads 48 values, perhaps a map of 8 channels and 6 places"
    ):
        converters.convert(given, made)
    turned = converters.convert(given, made, rules=[converters.Unflatten("fc1.weight", (8, 2, 3))])
    np.testing.assert_array_equal(
        turned.fc1.kernel[...], given["fc1.weight"].reshape(16, 8, 2, 3).transpose(2, 3, 1, 0).reshape(48, 16)
    )
    converters.convert(given, made, rules=[converters.Keep("fc1.weight")])


@pytest.mark.filterwarnings("error")
def test_a_pooled_map_is_not_asked_about() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.stem, self.norm = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
            self.conv, self.fc = nnx.Conv(4, 8, (3, 3), rngs=rngs), nnx.Linear(8, 2, rngs=rngs)

    given = {"stem": T.Conv2d(3, 4, 3), "norm": T.BatchNorm2d(8), "conv": T.Conv2d(4, 8, 3)}
    converters.convert(state_dict(T.ModuleDict({**given, "fc": T.Linear(8, 2)})), lambda: Net(nnx.Rngs(0)))


def test_a_draft_takes_layers_in_the_order_of_their_definition() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.up, self.down, self.across = (nnx.Linear(3, 3, rngs=rngs) for _ in range(3))

    given = state_dict(T.Sequential(*(T.Linear(3, 3) for _ in range(3))))
    with pytest.raises(converters.ConversionError) as error:
        converters.convert(given, lambda: Net(nnx.Rngs(0)))
    assert [replacement for _, replacement in error.value.draft] == ["0.", "1.", "2."]
    assert [pattern for pattern, _ in error.value.draft] == [r"^up\.", r"^down\.", r"^across\."]


def test_arrays_are_placed_as_the_module_says() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            init = nnx.with_partitioning(nnx.initializers.zeros, (None, "model"))
            self.fc = nnx.Linear(3, 4, kernel_init=init, rngs=rngs)

    given = state_dict(T.ModuleDict({"fc": T.Linear(3, 4)}))
    with jax.set_mesh(jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))):
        made = converters.convert(given, lambda: Net(nnx.Rngs(0)))
        concrete = Net(nnx.Rngs(0))
    nnx.update(concrete, converters.convert(given, concrete))  # outside
    for module in (made, concrete):
        assert module.fc.kernel.get_value().sharding.spec == jax.sharding.PartitionSpec(None, "model")
        np.testing.assert_array_equal(module.fc.kernel[...], given["fc.weight"].T)
