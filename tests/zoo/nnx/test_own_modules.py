"""Linen modules of one's own: compact, recurrent, in loops, with caches and fields of modules."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import zoo

X = np.random.default_rng(0).random((2, 6, 4), np.float32)


class Compact(nn.Module):
    """Layers by the order of their calls, a parameter and a running mean of its own, and noise."""

    sizes: Any

    @nn.compact
    def __call__(self, x: jax.Array, *, training: bool) -> jax.Array:
        for size in self.sizes:
            x = nn.Dense(size)(x)
            x = nn.LayerNorm()(x)
            x = nn.Dropout(0.5, deterministic=not training)(x)
        mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1])
        if training and not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * x.mean((0, 1))
            x = x + jax.random.normal(self.make_rng("noise"), x.shape)
        return (x - mean.value) * self.param("scale", nn.initializers.ones, x.shape[-1:])


class Recurrent(nn.Module):
    """Cells that are a layer's own, one direction and two."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.RNN(nn.GRUCell(5))(x)
        return nn.Bidirectional(nn.RNN(nn.LSTMCell(3)), nn.RNN(nn.LSTMCell(3)))(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        return x + nn.tanh(nn.Dense(4)(x)), None


class Loops(nn.Module):
    """A loop over stacked arrays, and a block that gradients recompute."""

    def setup(self) -> None:
        self.loop = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
        self.again = nn.remat(Block)()
        self.first = nn.Dense(4)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.again(self.loop(self.first(x), None)[0])[0]


class Holder(nn.Module):
    """Modules that are fields, in a dictionary and in a list with a function."""

    body: nn.Module

    def setup(self) -> None:
        self.heads = {
            "one": nn.DenseGeneral((2, 3), axis=-1),
            "two": nn.Dense(2, dot_general=jax.lax.dot_general),
        }
        self.steps = [nn.relu, nn.Dense(4), nn.PReLU()]

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = self.body(x)
        for step in self.steps:
            x = step(x)
        return self.heads["one"](x), self.heads["two"](x)


class Counter(nn.Module):
    """Counts its calls, in a cache."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        count = self.variable("cache", "count", lambda: jnp.zeros((), jnp.int32))
        if not self.is_initializing():
            count.value = count.value + 1
        return x * count.value


MODULES = {
    "compact": (Compact([5, 4]), {"training": False}),
    "recurrent": (Recurrent(), {}),
    "loops": (Loops(), {}),
    "fields": (Holder(nn.Sequential([nn.Dense(4), nn.gelu, nn.Dense(4)])), {}),
    "attention": (nn.MultiHeadDotProductAttention(2), {}),
}


def model_of(module: nn.Module, **kwargs: Any) -> zoo.Model:
    return zoo.Model(module, jax.jit(lambda: module.init(jax.random.key(0), X, **kwargs))())


@pytest.mark.parametrize("name", MODULES)
def test_it_gives_the_very_numbers_of_linen_and_the_model_back(name):
    module, kwargs = MODULES[name]
    model = model_of(module, **kwargs)
    given = zoo.to_nnx(model, nnx.Rngs(0), inputs=[X])
    for found, expected in zip(
        jax.tree.leaves(given(X)),
        jax.tree.leaves(model.module.apply(model.variables, X, **kwargs)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    back = zoo.from_nnx(given)
    assert back.module == module
    assert jax.tree.all(jax.tree.map(np.array_equal, dict(back.variables), dict(model.variables)))


def test_state_of_linens_own_code_is_kept():
    model = model_of(Compact((5, 4)), training=False)
    given = zoo.to_nnx(model, nnx.Rngs(0), inputs=[X])
    given.train()
    first, second = given(X), given(X)
    assert not np.array_equal(first, second)
    assert type(given.mean) is nnx.BatchStat
    assert np.abs(given.mean[...]).max() > 0
    given.eval()
    np.testing.assert_array_equal(given(X), given(X))
    compiled = nnx.jit(lambda given, x: given(x, training=True))
    before = given.mean[...]
    compiled(given, X)
    assert not np.array_equal(given.mean[...], before)


def test_a_cache_counts_in_its_variable():
    counter = zoo.to_nnx(model_of(Counter()), inputs=[X])
    assert type(counter.count) is nnx.Cache
    counter(X)
    np.testing.assert_array_equal(counter(X), 2 * X)
    assert int(counter.count[...]) == 2


def test_parts_of_a_loop_cannot_be_replaced_in_silence():
    loops = zoo.to_nnx(model_of(Loops()), inputs=[X])
    assert loops.loop.Dense_0.kernel.shape == (3, 4, 4)
    loops.first = nnx.Linear(4, 4, rngs=nnx.Rngs(1))
    loops(X)
    loops.loop.Dense_0 = nnx.Linear(4, 4, rngs=nnx.Rngs(1))
    with pytest.raises(
        zoo.ZooError, match="loop/Dense_0 was replaced, and linen's Dense there runs in a loop"
    ):
        loops(X)


def test_gradients_and_dropout_go_through_a_stack_that_linen_runs():
    sizes = {"vocab_size": 20, "max_length": 16, "width": 8, "depth": 2, "heads": 2}
    ids = np.arange(10).reshape(2, 5)
    model = zoo.load("gpt2", **sizes, scan=True, remat=True)
    given = zoo.to_nnx(model)

    def loss(module: nnx.Module) -> jax.Array:
        return (module(ids).logits ** 2).sum()

    def linen_loss(variables: Any) -> jax.Array:
        return (model.replace(variables=variables)(ids).logits ** 2).sum()

    value, found = nnx.jit(nnx.value_and_grad(loss))(given)
    right, expected = jax.jit(jax.value_and_grad(linen_loss))(dict(model.variables))
    np.testing.assert_allclose(value, right, rtol=1e-6)
    for layer, name in (("c_fc", "kernel"), ("c_proj", "bias")):
        kernel = expected["params"]["h"]["mlp"][layer][name]
        np.testing.assert_allclose(found["h"]["mlp"][layer][name].get_value(), kernel, rtol=1e-4, atol=1e-4)
    given.train()
    compiled = nnx.jit(lambda module: module(ids).logits)
    assert not np.array_equal(compiled(given), compiled(given))


def test_what_does_not_fit_is_refused():
    model = model_of(nn.Dense(3))
    with pytest.raises(zoo.ZooError, match="nothing says what this Dense takes"):
        zoo.to_nnx(model)
    more = zoo.Model(model.module, {"params": {**model.variables["params"], "scale": X}})
    with pytest.raises(zoo.ZooError, match="left over  params/scale"):
        zoo.to_nnx(more, inputs=[X])
    with pytest.raises(zoo.ZooError, match="missing    params/bias"):
        zoo.to_nnx(zoo.Model(nn.Dense(3), {"params": {"kernel": X[0]}}), inputs=[X])
    with pytest.raises(zoo.ZooError, match="this Linear was not made of a linen module"):
        zoo.from_nnx(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    with pytest.raises(zoo.ZooError, match="library='torch'; expected one of linen, nnx"):
        zoo.load("mlp_mnist", library="torch")
    silent = zoo.to_nnx(model_of(Compact((4,)), training=False), nnx.Rngs(dropout=0), inputs=[X])
    with pytest.raises(zoo.ZooError, match="numbers of the stream 'noise', which the module has not"):
        silent(X, training=True)
