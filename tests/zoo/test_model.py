import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo._variables.tree import flatten, unflatten


class Noisy(nn.Module):
    """A dense layer, a running mean, a method by its side, noise."""

    features: int = 3

    def setup(self):
        self.dense = nn.Dense(self.features)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, (self.features,))

    def __call__(self, x, *, train=False):
        y = self.dense(x)
        if train:
            self.mean.value = 0.9 * self.mean.value + 0.1 * y.mean(0)
            y = y + jax.random.normal(self.make_rng("noise"), y.shape)
        return y - self.mean.value

    def double(self, x):
        return 2 * self.dense(x)


@pytest.fixture
def model():
    module = Noisy()
    return zoo.Model(module, module.init(jax.random.key(0), jnp.ones((2, 5))))


X = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)


def test_a_call_is_the_modules_apply(model):
    expected = model.module.apply(model.variables, X)
    np.testing.assert_array_equal(model(X), expected)


@pytest.mark.parametrize("method", ["double", Noisy.double], ids=["by name", "by function"])
def test_a_call_takes_method(model, method):
    np.testing.assert_array_equal(
        model(X, method=method), model.module.apply(model.variables, X, method="double")
    )


def test_a_call_takes_rngs_mutable_and_the_modules_own_keywords(model):
    keywords = {"train": True, "rngs": {"noise": jax.random.key(1)}, "mutable": ["batch_stats"]}
    output, changed = model(X, **keywords)
    expected, _ = model.module.apply(model.variables, X, **keywords)
    np.testing.assert_array_equal(output, expected)
    assert np.any(changed["batch_stats"]["mean"])


def test_a_model_unpacks_to_module_and_variables(model):
    module, variables = model
    assert module is model.module
    assert variables is model.variables


def test_replace_changes_the_variables_only(model):
    other = model.replace(variables={"params": {}})
    assert other.variables == {"params": {}}
    assert other.module is model.module
    assert model.variables["params"]


def test_the_variables_are_the_only_leaves(model):
    leaves, structure = jax.tree.flatten(model)
    assert len(leaves) == 3
    assert jax.tree.unflatten(structure, leaves).module is model.module
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]
    assert paths[0] == ".variables['batch_stats']['mean']"


def test_a_model_passes_through_jit_and_vmap_and_grad(model):
    direct = model(X)
    np.testing.assert_allclose(jax.jit(lambda model, x: model(x))(model, X), direct, rtol=1e-6)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), model)
    np.testing.assert_allclose(jax.vmap(lambda model: model(X))(stacked)[1], direct, rtol=1e-6)

    def loss(params):
        return model.replace(variables={**model.variables, "params": params})(X).sum()

    assert jax.grad(loss)(model.variables["params"])["dense"]["kernel"].shape == (5, 3)


def test_a_model_may_be_the_carry_of_a_scan():
    first = zoo.load("mlp_mnist")

    def step(model, _):
        return model.replace(variables=jax.tree.map(lambda leaf: leaf * 0.5, model.variables)), None

    last, _ = jax.lax.scan(step, first, length=2)
    assert last.entry == first.entry


def test_the_repr_is_one_line_without_arrays(model):
    assert repr(model) == "<Noisy, 18 parameters, float32>"
    assert repr(zoo.load("mlp_mnist")) == "<mlp_mnist: MLP, 101,770 parameters, float32>"
    assert "Noisy" in repr(jax.tree.map(lambda leaf: None, model))


def test_flatten_and_unflatten_are_inverse():
    nested = {"params": {"b": {"kernel": 1}, "a": {"bias": 2}}, "batch_stats": {"mean": 3}}
    assert flatten(nested) == {"params/b/kernel": 1, "params/a/bias": 2, "batch_stats/mean": 3}
    assert unflatten(flatten(nested)) == nested


@pytest.mark.parametrize("name", ["a/b", 3], ids=["slash", "number"])
def test_a_name_that_is_no_path_is_refused(name):
    with pytest.raises(zoo.WeightsError, match="params/"):
        flatten({"params": {name: 1}})
