import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import resnet

pytestmark = pytest.mark.costly

TINY = {"depth": 14, "channels": 8, "num_classes": 5}


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def output(*shape, dtype=None, **config):
    """Shape and dtype of what images of that shape give; nothing is computed."""
    module = resnet.create(**TINY | config, dtype=dtype)
    out, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros(shape)))
    return out, variables


@pytest.fixture(scope="module")
def tiny():
    return zoo.load("resnet18", **TINY)


def test_train_is_keyword_only_and_updates_the_running_statistics(tiny):
    assert (
        inspect.signature(resnet.ResNet.__call__).parameters["train"].kind is inspect.Parameter.KEYWORD_ONLY
    )
    logits, changed = tiny(images(2, 32, 48, 3), train=True, mutable=["batch_stats"])
    assert logits.shape == (2, 5)
    before, after = (tree["bn1"]["mean"] for tree in (tiny.variables["batch_stats"], changed["batch_stats"]))
    assert np.any(before != after)


def test_any_size_of_images_is_taken():
    for height, width in ((224, 33), (1, 1), (65, 64)):
        assert output(1, height, width, 3)[0].shape == (1, 5)


def test_without_classes_it_gives_features():
    features, variables = output(2, 32, 48, 3, num_classes=0)
    assert features.shape == (2, 8 * 8 * 4)
    assert "fc" not in variables["params"]


def test_grey_images_have_one_channel():
    model = zoo.load("resnet18", **TINY, in_channels=1)
    assert model.entry.inputs[0].shape == (1, 224, 224, 1)
    assert model.variables["params"]["conv1"]["kernel"].shape == (7, 7, 1, 8)
    with pytest.raises(
        zoo.ZooError, match=r"images of shape \(2, 32, 48, 3\) have 3 channels; expected .*, 1\)"
    ):
        model(images(2, 32, 48, 3))


def test_other_classes_have_no_names(tiny):
    assert zoo.info("resnet20_cifar10").class_names[3] == "cat"
    assert tiny.entry.class_names == ()


def test_the_stem_for_small_images_keeps_their_size():
    module = resnet.create(**TINY, stem="cifar")
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, 20, 24, 3)), capture_intermediates=True)
    )["intermediates"]
    assert shapes["layer1_0"]["__call__"][0].shape == (1, 20, 24, 32)


@pytest.mark.parametrize("depth", [10, 14])
def test_with_a_last_scale_of_zeros_each_block_begins_as_its_shortcut(depth):
    model = zoo.load("resnet18", depth=depth, channels=8, num_classes=0, stem="cifar", zero_init_last=True)
    last = {10: "bn2", 14: "bn3"}[depth]
    scales = [model.variables["params"][f"layer{stage}_0"][last]["scale"] for stage in (1, 2, 3, 4)]
    assert not any(scale.any() for scale in scales)
    assert model.variables["params"]["layer1_0"]["bn1"]["scale"].all()


def test_it_computes_in_another_dtype():
    for shortcut in resnet.SHORTCUTS:
        logits, variables = output(2, 33, 47, 3, dtype="bfloat16", shortcut=shortcut)
        assert logits.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_a_saved_one_still_knows_its_preprocessing(tiny, tmp_path):
    zoo.save(tiny, tmp_path / "tiny")
    again = zoo.load(tmp_path / "tiny", pretrained=True)
    assert again.module == tiny.module
    assert again.entry.preprocess == tiny.entry.preprocess == zoo.info("resnet18").preprocess
    assert zoo.preprocess(tmp_path / "tiny")(np.zeros((9, 8, 3), np.uint8)).shape == (1, 224, 224, 3)


def test_half_precision_weights_compute_as_in_pytorch(tiny, tmp_path):
    """Which copies them into float32, as torchvision's first files of the wide ResNets."""
    half = jax.tree.map(lambda leaf: jnp.asarray(0.3 * leaf + 0.01, jnp.float16), tiny.variables)
    zoo.save(tiny.replace(variables=half), tmp_path / "half")
    found = zoo.load(tmp_path / "half", pretrained=True)
    dtypes = {name: {leaf.dtype for leaf in jax.tree.leaves(tree)} for name, tree in found.variables.items()}
    assert dtypes == {"params": {jnp.dtype("float16")}, "batch_stats": {jnp.dtype("float32")}}
    wide = tiny.replace(variables=jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half))
    run = jax.jit(lambda model, x: model(x))
    x = images(2, 32, 48, 3)
    np.testing.assert_allclose(run(found, x), run(wide, x), rtol=1e-5)


REFUSED = {
    "depth": ({"depth": 51}, "no depth 51; choose one of 10, 14, 18, 26, 34, 50, 101, 152, 20, 32"),
    "stem": ({"stem": "mnist"}, "no stem 'mnist'; choose one of imagenet, cifar, deep, deep_tiered"),
    "shortcut": ({"shortcut": "none"}, "no shortcut 'none'; choose one of conv, pad, pool"),
    "groups": ({"groups": 2}, "groups=2, width_per_group=64: depth 18 has blocks without groups"),
}


@pytest.mark.parametrize(("config", "message"), REFUSED.values(), ids=REFUSED)
def test_what_there_is_not_is_refused(config, message):
    with pytest.raises(zoo.ZooError) as caught:
        zoo.load("resnet18", **config)
    assert message in str(caught.value)


def test_the_table_of_depths_counts_their_layers():
    """The stem, the convolutions of the blocks, and the dense layer."""
    for depth, (block, blocks) in resnet.DEPTHS.items():
        assert depth == 2 + sum(blocks) * {"basic": 2, "bottleneck": 3}[block]
