"""torchvision's early families: what the tests of outputs do not ask."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.equivalence import FORWARD, difference, randomise, run_torch, state_dict
from tests.reference.classics import classic, classic_of, pooled_as_tensorflow
from zoo import alexnet, densenet, googlenet, inception, shufflenet, squeezenet, vgg
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._nn.outputs import TrainingLogits
from zoo._registry.recipes import Recipe
from zoo.training import tasks
from zoo.training.data import Examples

SMALLEST = {alexnet: 63, vgg: 32, densenet: 29, googlenet: 15, inception: 75, shufflenet: 1, squeezenet: 21}
TINY = {
    alexnet: {"widths": (4, 4, 4, 4, 4), "hidden": 8},
    vgg: {"widths": (2, 2, 2, 2, 2), "hidden": 8},
    densenet: {"blocks": (1, 1, 1, 1)},
    googlenet: {"blocks": ("3a", "4a", "5a")},
    inception: {"blocks": ("Mixed_5b", "Mixed_6a", "Mixed_7a")},
    shufflenet: {"blocks": (1, 1, 1)},
    squeezenet: {},
}
each = pytest.mark.parametrize("family", TINY, ids=lambda family: family.__name__)


def output(family, height, width, channels=3, train=False, **config):
    """Shapes of the output and of the variables; nothing is computed."""
    module = family.create(**TINY[family] | config)

    def run():
        x = jnp.zeros((2, height, width, channels))
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        variables = module.init(rngs, x)
        return module.apply(variables, x, train=train, rngs=rngs, mutable=["batch_stats"])[0], variables

    return jax.eval_shape(run)


@each
def test_images_are_as_small_as_torchvision_says_and_no_smaller(family):
    """As `min_size` of its weights."""
    side = SMALLEST[family]
    assert output(family, side, side + 9, num_classes=7)[0].shape == (2, 7)
    if side > 1:
        message = rf"expected \(batch, height, width, 3\) of at least {side} pixels each way: zoo.preprocess"
        with pytest.raises(zoo.ZooError, match=message):
            output(family, side + 9, side - 1)


@each
def test_without_classes_and_colors_it_gives_features_and_has_no_head(family):
    features, variables = output(family, 75, 91, channels=1, num_classes=0, in_channels=1)
    assert features.ndim == 2
    assert not {*family.HEAD} & {*variables["params"]}
    (stem,) = family.STEM
    for part in stem.split("/"):
        variables = {"params": variables["params"][part]}
    assert variables["params"]["kernel"].shape[2] == 1


@each
def test_it_computes_in_another_dtype(family):
    logits, variables = output(family, 75, 91, dtype="bfloat16")
    assert logits.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


REFUSED = {
    "alexnet": (alexnet, {"widths": (1, 2)}, "widths=(1, 2): expected five numbers"),
    "vgg": (vgg, {"depth": 12}, "no depth 12; choose one of 11, 13, 16, 19"),
    "vgg's widths": (vgg, {"widths": (1, 2)}, "widths=(1, 2): expected 5 numbers"),
    "densenet": (densenet, {"depth": 12}, "no depth 12; choose one of 121, 161, 169, 201"),
    "squeezenet": (squeezenet, {"variant": "1_1"}, "no variant '1_1'; choose one of 1.0, 1.1"),
    "shufflenet": (shufflenet, {"width": 3}, "no width 3; choose one of 0.5, 1.0, 1.5, 2.0"),
    "odd halves": (shufflenet, {"widths": (8, 7, 8, 8, 8)}, "expected 5 numbers, even ones for the stages"),
    "colors": (googlenet, {"transform_input": True, "in_channels": 1}, "of 3 channels, not of 1; pass"),
    "pooling": (inception, {"pooling": "fid"}, "no pooling 'fid'; choose one of torchvision, tensorflow."),
    "blocks": (inception, {"blocks": ("Mixed_6a", "Mixed_5b")}, "expected some of Mixed_5b, Mixed_5c"),
}


@pytest.mark.parametrize(("family", "config", "message"), REFUSED.values(), ids=REFUSED)
def test_what_there_is_not_is_refused(family, config, message):
    with pytest.raises(zoo.ZooError) as caught:
        family.create(**config)
    assert message in str(caught.value)


AUXILIARY = {
    googlenet: (("3a", "4a", "4d"), (75, 91), 2),
    inception: (("Mixed_5b", "Mixed_6a", "Mixed_6e"), (299, 310), 1),
}


@pytest.mark.parametrize("family", AUXILIARY, ids=lambda family: family.__name__)
def test_auxiliary_heads_speak_in_training_only(family):
    blocks, sides, heads = AUXILIARY[family]
    config = {"aux_logits": True, "num_classes": 7, "blocks": blocks}
    trained, variables = output(family, *sides, train=True, **config)
    assert isinstance(trained, TrainingLogits)
    assert [each.shape for each in (trained.logits, *trained.auxiliary)] == [(2, 7)] * (1 + heads)
    assert {*family.HEAD} <= {*variables["params"]}
    assert output(family, *sides, **config)[0].shape == (2, 7)
    without, fewer = output(family, *sides, train=True, **config | {"aux_logits": False})
    assert without.shape == (2, 7)
    assert {*fewer["params"]} == {*variables["params"]} - {*family.HEAD[1:]}


def test_the_auxiliary_head_of_inception_needs_images_that_leave_it_a_map():
    with pytest.raises(zoo.ZooError, match="of at least 299 pixels each way"):
        output(inception, 298, 310, train=True, aux_logits=True)


@pytest.mark.parametrize("train", [False, True])
def test_the_auxiliary_head_of_inception_is_torchvisions(train):
    twin = randomise(classic_of("inception", "InceptionAux", 8, 7)).train(train)
    head, maps = inception.AuxiliaryHead(7, None), np.random.default_rng(3).normal(size=(2, 17, 20, 8))
    (expected,) = run_torch(twin, [np.moveaxis(maps, -1, 1)]).outputs
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(twin), head, maps)
        found, _ = head.apply(variables, maps, train=train, mutable=["batch_stats"])
        assert difference(np.asarray(found), expected) <= (1e-11 if train else FORWARD)


TENSORFLOW = {"Mixed_5b": ("InceptionA", 32), "Mixed_6b": ("InceptionC", 128), "Mixed_7c": ("InceptionE",)}


@pytest.mark.parametrize("name", TENSORFLOW)
def test_blocks_of_inception_pool_as_tensorflow_does(name):
    """Averages leave padding out, and the last block takes the largest numbers."""
    kind, *options = TENSORFLOW[name]
    twin = pooled_as_tensorflow(classic_of("inception", kind, 8, *options), largest=name == "Mixed_7c")
    twin, maps = randomise(twin).eval(), np.random.default_rng(3).normal(size=(2, 5, 7, 8))
    (expected,) = run_torch(twin, [np.moveaxis(maps, -1, 1)]).outputs
    for pooling, same in (("tensorflow", True), ("torchvision", False)):
        block = inception.Mixed(inception.POOLINGS[pooling][name], None)
        with jax.enable_x64(True):
            found = block.apply(converters.convert(state_dict(twin), block, maps), maps)
            error = difference(np.moveaxis(np.asarray(found), -1, 1), expected)
        assert (error <= FORWARD) == same, error


def test_a_file_with_auxiliary_heads_serves_a_model_without_them():
    entry = zoo.info("googlenet")
    with torch.device("meta"):
        twin = classic("googlenet", init_weights=False)
    tensors = {
        name: np.broadcast_to(np.zeros((), np.float32), tuple(tensor.shape))
        for name, tensor in twin.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    (note,) = layouts.fitted(entry, tensors, build(entry)[0]).notes
    assert note.startswith("left out 18 tensors, auxiliary heads, which only aux_logits=True has: aux1.conv.")


class Speaker(nn.Module):
    """Logits that are its input, and twice them from an auxiliary head."""

    @nn.compact
    def __call__(self, x, *, train=False):
        return TrainingLogits(x, (2 * x,)) if train else x


def test_training_adds_the_weighted_losses_of_auxiliary_heads():
    x, labels = np.float32([[1, 2, 4], [0, 3, 1]]), np.array([2, 0])
    recipe = Recipe(task="classification", dataset="mnist", epochs=1, batch_size=2, learning_rate=0.1)

    def loss(train):
        examples, key = Examples(x, labels), jax.random.key(0)
        return tasks.classification(Speaker(), {}, examples, key, recipe, train=train)[0]["loss"]

    def entropy(logits):
        return np.log(np.exp(logits).sum(-1)) - logits[[0, 1], labels]

    np.testing.assert_allclose(loss(train=False), entropy(x), rtol=1e-6)
    np.testing.assert_allclose(loss(train=True), entropy(x) + 0.3 * entropy(2 * x), rtol=1e-6)
