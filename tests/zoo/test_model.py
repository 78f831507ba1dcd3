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


def test_variables_without_their_collection_are_told(model):
    with pytest.raises(zoo.ZooError, match=r"have no collection '\w+', which the call reads; expected a m"):
        model.replace(variables=model.variables["params"])(np.ones((1, 3), np.float32))


def test_train_without_mutable_says_the_call(model):
    call = r"with mutable=\['batch_stats'\] it returns a pair, .* model\(..., train=True, mutable="
    with pytest.raises(zoo.ZooError, match=call):
        model(X, train=True, rngs={"noise": jax.random.key(1)})


def test_train_without_rngs_says_the_stream_and_the_call(model):
    call = r"random numbers of the stream 'noise', .*: model\(..., rngs={'noise': jax.random.key\(0\)}\)"
    with pytest.raises(zoo.ZooError, match=call):
        model(X, train=True, mutable=["batch_stats"])


def test_a_call_looks_at_the_pixels():
    model = zoo.load("mlp_mnist")
    with pytest.raises(zoo.ZooError, match=r"images are uint8, expected floats"):
        model(np.zeros((2, 28, 28, 1), np.uint8))
    with pytest.warns(UserWarning, match=r"images have values up to 255"):
        model(np.full((2, 28, 28, 1), 255, np.float32))


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
    assert "Noisy" in repr(jax.tree.map(lambda leaf: None, model))


INPUTS = "images (1, 28, 28, 1)"
MLP = "<mlp_mnist: MLP, family mlp, "


def test_the_repr_says_whether_the_model_is_pretrained():
    new, loaded = zoo.load("mlp_mnist"), zoo.load("mlp_mnist", pretrained=True)
    assert repr(new) == f"{MLP}101,770 parameters, float32, not pretrained, {INPUTS}>"
    assert repr(loaded) == f"{MLP}101,770 parameters, float32, pretrained, {INPUTS}, license Apache-2.0>"
    headed = zoo.load("cnn_mnist", pretrained=True, num_classes=3)
    assert "pretrained but for fc2, images" in repr(headed)
    assert (new.pretrained, loaded.pretrained, headed.pretrained) == (False, True, True)
    assert loaded.replace(variables=new.variables).pretrained


def test_models_that_differ_in_their_origin_alone_are_one_to_jax():
    new, loaded = zoo.load("mlp_mnist"), zoo.load("mlp_mnist", pretrained=True)
    same = zoo.Model(loaded.module, loaded.variables, new.entry)
    assert jax.tree.structure(same) == jax.tree.structure(new)
    assert jax.tree.structure(loaded.replace(variables=new.variables)) == jax.tree.structure(loaded)


def test_a_notebook_shows_the_same_facts(model):
    shown = zoo.load("mlp_mnist", pretrained=True)._repr_html_()
    for text in ("mlp_mnist", "101,770", "float32", "pretrained", INPUTS, "Apache-2.0"):
        assert f">{text}</td>" in shown
    assert "None" not in model._repr_html_()


def test_a_model_knows_its_name_and_counts_its_parameters(model):
    assert (model.name, model.num_params, model.pretrained) == ("Noisy", 18, None)
    assert (zoo.load("mlp_mnist").name, zoo.load("mlp_mnist").num_params) == ("mlp_mnist", 101_770)


def test_the_summary_has_a_line_for_each_layer_and_one_for_equal_layers_of_a_list():
    lines = zoo.load("resnet20_cifar10", seed=1).summary().splitlines()
    assert lines[0].startswith("resnet20_cifar10, ResNet, family resnet, 269,722 parameters, float32, not")
    cells = [line.split() for line in lines[2:]]
    assert cells[0] == ["layer", "arrays", "parameters", "dtype", "bytes"]
    conv = "conv1 kernel (3, 3, 3, 16) 432 float32 1,728"
    assert cells[1] == conv.split()
    # Statistics have bytes, and are no parameters.
    norm = "layer1_0...2/bn1 scale (16,), bias (16,), mean (16,), var (16,) 96 float32 768"
    assert norm.split() in cells
    assert cells[-1] == ["total", "269,722", "1,084,392"]


def test_the_summary_goes_as_deep_as_asked(model):
    top = zoo.load("resnet20_cifar10").summary(depth=1)
    assert [line.split()[0] for line in top.splitlines()[3:]] == [
        *("conv1", "bn1", "layer1_0...2", "layer2_0", "layer2_1...2", "layer3_0", "layer3_1...2"),
        *("fc", "total"),
    ]
    assert model.summary().splitlines()[0] == "Noisy, 18 parameters, float32"
    # The running mean is the module's own, the kernel and bias are a layer's.
    assert len(model.summary().splitlines()) == 6
    assert repr(model.summary()) == model.summary()


def test_flatten_and_unflatten_are_inverse():
    nested = {"params": {"b": {"kernel": 1}, "a": {"bias": 2}}, "batch_stats": {"mean": 3}}
    assert flatten(nested) == {"params/b/kernel": 1, "params/a/bias": 2, "batch_stats/mean": 3}
    assert unflatten(flatten(nested)) == nested


@pytest.mark.parametrize("name", ["a/b", 3], ids=["slash", "number"])
def test_a_name_that_is_no_path_is_refused(name):
    with pytest.raises(zoo.WeightsError, match="params/"):
        flatten({"params": {name: 1}})
