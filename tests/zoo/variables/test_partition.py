"""Params labelled by path, and pretrained parts grafted into larger models."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import zoo
from tests.cases import images
from zoo import resnet


@pytest.fixture(scope="module")
def backbone(saved) -> zoo.Model:
    return zoo.load(saved["resnet20_cifar10"], pretrained=True, num_classes=0)


class Twice(nn.Module):
    """Two dense layers on top of a backbone."""

    backbone: nn.Module

    def setup(self) -> None:
        self.heads = [nn.Dense(5), nn.Dense(3)]

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        features = self.backbone(x)
        return [head(features) for head in self.heads]


def test_labels_are_what_optax_takes(saved):
    variables = zoo.load(saved["resnet20_cifar10"], pretrained=True).variables
    params = variables["params"]
    labels = zoo.partition(variables, {"trainable": "fc|layer3", "frozen": ".*"})
    assert jax.tree.structure(labels) == jax.tree.structure(params)
    assert set(jax.tree.leaves([labels["fc"], labels["layer3_0"], labels["layer3_2"]])) == {"trainable"}
    assert set(jax.tree.leaves([labels["conv1"], labels["layer2_0"]])) == {"frozen"}
    optimizer = optax.multi_transform({"trainable": optax.adam(0.1), "frozen": optax.set_to_zero()}, labels)
    state = optimizer.init(params)
    kept = sum(leaf.size for leaf in jax.tree.leaves(state))
    learning = [params[name] for name in params if name.startswith(("fc", "layer3"))]
    trained = sum(leaf.size for leaf in jax.tree.leaves(learning))
    assert kept == 2 * trained + 1  # two moments and a counter: nothing for what is frozen
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
    assert not np.any(updates["conv1"]["kernel"])
    assert np.all(updates["fc"]["kernel"])


def test_a_pattern_means_whole_names(saved):
    variables = zoo.load(saved["cnn_mnist"], pretrained=True).variables
    labels = zoo.partition(variables, {"first": "convs_0/kernel", "second": "convs", "rest": "fc[12]"})
    assert labels["convs_0"] == {"kernel": "first", "bias": "second"}
    assert labels["convs_1"] == {"kernel": "second", "bias": "second"}
    with pytest.raises(zoo.ZooError, match=r"no param is in 'a' \('conv'\)"):
        zoo.partition(variables, {"a": "conv", "b": ".*"})
    with pytest.raises(
        zoo.ZooError, match=r"convs_0/bias, .* \.\.\.: in no group; a last one of '\.\*' takes"
    ):
        zoo.partition(variables, {"a": "fc1"})
    with pytest.raises(zoo.ZooError, match=r"'\(' is no regular expression"):
        zoo.partition(variables, {"a": "("})


def test_a_part_is_grafted_in_every_collection(backbone):
    module = Twice(backbone.module)
    pixels = images(2, 32, 32, 3)
    variables = module.init(jax.random.key(1), pixels)
    grafted = zoo.graft(variables, backbone, at="backbone")
    assert jax.tree.structure(grafted) == jax.tree.structure(variables)
    np.testing.assert_array_equal(
        module.apply(grafted, pixels, method=lambda bound, x: bound.backbone(x)), backbone(pixels)
    )
    assert (
        grafted["batch_stats"]["backbone"]["bn1"]["mean"] is backbone.variables["batch_stats"]["bn1"]["mean"]
    )
    assert grafted["params"]["heads_0"]["kernel"] is variables["params"]["heads_0"]["kernel"]


def test_a_part_that_is_not_what_is_there_is_refused(backbone):
    module = Twice(resnet.create(depth=14, channels=16, num_classes=0, stem="cifar", shortcut="pad"))
    variables = module.init(jax.random.key(1), images(2, 32, 32, 3))
    with pytest.raises(zoo.ZooError, match="the part does not fit at 'backbone':") as error:
        zoo.graft(variables, backbone, at="backbone")
    assert "missing" in str(error.value)
    assert "left over" in str(error.value)
    with pytest.raises(zoo.ZooError, match=r"no layer is 'bakbone'; did you mean 'backbone'\?$"):
        zoo.graft(variables, backbone, at="bakbone")
    with pytest.raises(zoo.ZooError, match=r"no layer is 'x'; there are backbone, heads_0, heads_1\.$"):
        zoo.graft(variables, backbone, at="x")


def test_a_model_stands_for_its_variables_and_a_name_does_not(backbone):
    whole = zoo.Model(nn.Dense(1), {"params": {"net": backbone.variables["params"]}})
    part = backbone.replace(variables={"params": backbone.variables["params"]})
    assert zoo.graft(whole, part, at="net") == zoo.graft(whole.variables, part.variables, at="net")
    assert zoo.partition(part, {"all": ".*"}) == zoo.partition(part.variables, {"all": ".*"})
    for call in (zoo.partition, lambda given, _: zoo.graft(given, part, at="net")):
        with pytest.raises(
            zoo.ZooError, match="found the name 'resnet18', expected a model or its variables"
        ):
            call("resnet18", {"all": ".*"})
    with pytest.raises(zoo.ZooError, match="have no collection 'params'; pass all variables of a model"):
        zoo.partition(part.variables["params"], {"all": ".*"})
    with pytest.raises(zoo.ZooError, match=r"groups are \['fc'\]; expected a mapping, such as "):
        zoo.partition(part, ["fc"])
