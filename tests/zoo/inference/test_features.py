"""Outputs of layers, against the model's own parts, and gradients there against differences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from tests.cases import images


@pytest.fixture(scope="module")
def cnn(saved) -> zoo.Model:
    return zoo.load(saved["cnn_mnist"], pretrained=True)


class Shared(nn.Module):
    """One layer, called twice."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        layer = nn.Dense(4)
        return layer(nn.relu(layer(x)))


def test_features_are_what_the_layers_give(cnn):
    pixels = images(2, 28, 28, 1)
    found = zoo.features(cnn, pixels, layers=["convs", "fc2"])
    assert list(found) == ["convs_0", "convs_1", "fc2"]
    np.testing.assert_array_equal(found["fc2"], cnn(pixels))
    first = cnn(pixels, method=lambda bound, x: bound.convs[0](x))
    np.testing.assert_array_equal(found["convs_0"], first)


def test_paths_may_be_deep_and_features_be_jitted(saved):
    model = zoo.load(saved["resnet20_cifar10"], pretrained=True)
    pixels = images(2, 32, 32, 3)
    found = jax.jit(lambda model, x: zoo.features(model, x, layers=["layer3", r"layer1_0/bn\d"]))(
        model, pixels
    )
    assert {path: each.shape for path, each in found.items()} == {
        **{f"layer1_0/bn{index}": (2, 32, 32, 16) for index in (1, 2)},
        **{f"layer3_{index}": (2, 8, 8, 64) for index in (0, 1, 2)},
    }


def test_a_layer_that_is_called_twice_gives_two():
    module, x = Shared(), jnp.ones((2, 4))
    model = zoo.Model(module, module.init(jax.random.key(0), x))
    first, second = zoo.features(model, x, layers=["Dense_0"])["Dense_0"]
    np.testing.assert_array_equal(second, model(x))
    assert not np.array_equal(first, second)


def test_gradients_are_those_of_the_rest_of_the_model(cnn):
    pixels = images(2, 28, 28, 1)

    def objective(logits: jax.Array) -> jax.Array:
        return logits[:, 3].sum()

    found, gradients = zoo.feature_gradients(cnn, objective, pixels, layers=["fc1", "fc2"])
    np.testing.assert_array_equal(found["fc2"], cnn(pixels))
    assert np.array_equal(gradients["fc2"], np.eye(10)[[3, 3]])
    rest = jax.grad(lambda hidden: objective(nn.relu(hidden) @ cnn.variables["params"]["fc2"]["kernel"]))
    np.testing.assert_allclose(gradients["fc1"], rest(found["fc1"]), rtol=1e-6, atol=1e-7)


def test_gradients_of_a_layer_that_is_called_twice_are_two():
    module, x = Shared(), jnp.array([[1.0, -2.0, 3.0, 0.5]])
    model = zoo.Model(module, module.init(jax.random.key(0), x))
    _, gradients = zoo.feature_gradients(model, jnp.sum, x, layers=["Dense_0"])
    first, second = gradients["Dense_0"]
    assert np.array_equal(second, np.ones((1, 4)))
    kernel, bias = (model.variables["params"]["Dense_0"][name] for name in ("kernel", "bias"))
    open_ = x @ kernel + bias > 0
    np.testing.assert_allclose(first, np.where(open_, second @ kernel.T, 0), rtol=1e-5)


def test_an_unknown_layer_is_named_with_those_there_are(cnn):
    with pytest.raises(zoo.ZooError, match="no layer is 'conv'; there are convs_0, convs_1, fc1, fc2"):
        zoo.features(cnn, images(2, 28, 28, 1), layers=["fc1", "conv"])
