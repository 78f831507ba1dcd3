"""Names of models, and the modules that they and their keywords make."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo._registry import packaged
from zoo._registry.manifest import read
from zoo._variables.tree import flatten

ENTRIES = read().models
# the smallest model of each family
FAMILIES = {
    entry.family: entry.name for entry in sorted(ENTRIES.values(), key=lambda entry: entry.num_params)[::-1]
}
NET = (
    "models: {net: {config: {}, inputs: [{name: x, shape: [1], dtype: int32}], "
    "num_params: 1, license: MIT, source: a, %s}}"
)


def test_names_are_listed_by_pattern(use_manifest):
    assert zoo.list_models() == sorted(ENTRIES)
    assert zoo.list_models("v?e_*") == ["vae_mnist"]
    assert zoo.list_models("nothing*") == []
    entry = NET[len("models: {net: ") : -1] % "family: cnn%s"
    weights = f", weights: {{file: a.safetensors, sha256: {'ab' * 32}, size: 1}}"
    use_manifest(f"models:\n  b: {entry % weights}\n  a: {entry % ''}\n")
    assert zoo.list_models() == ["a", "b"]
    assert zoo.list_models(pretrained=True) == ["b"]
    assert zoo.list_models(pretrained=False) == ["a"]


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(zoo.UnknownModelError) as caught:
        zoo.load("vae_minst")
    assert str(caught.value) == "no model named 'vae_minst'; did you mean 'vae_mnist'?"
    with pytest.raises(zoo.UnknownModelError, match="did you mean 'vae_mnist'"):
        zoo.info("VAE_MNIST")
    with pytest.raises(zoo.UnknownModelError, match=r"'qqq'; zoo.list_models\(\) names the \d+ there are"):
        zoo.load("qqq")


def test_a_directory_is_taken_as_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(zoo.UnknownModelError, match=r"'empty', and the directory of that name has no config"):
        zoo.load("empty")
    for name in ("mine", "mlp_mnist"):
        zoo.save(zoo.Model(nn.Dense(2), {"params": {"kernel": np.ones((3, 2))}}), tmp_path / name)
    assert zoo.info("mine").num_params == 6
    with pytest.warns(UserWarning, match=r"'mlp_mnist' is the zoo's own model; .* is './mlp_mnist'"):
        assert zoo.info("mlp_mnist").num_params == 101770
    assert zoo.info("./mlp_mnist").num_params == 6


@pytest.mark.parametrize("name", ["no/such/directory", "a/" + "b" * 300, "a/\0"], ids=str)
def test_names_that_mean_nothing_here_are_refused(name):
    with pytest.raises(zoo.UnknownModelError, match=re.escape(repr(name))):
        zoo.load(name, pretrained=True)


# Several weights of one model, whose names have a dot, share its count; those of generated entries are
# compared with their library's by the script that writes them.
ARCHITECTURES = [
    pytest.param(name, marks=[pytest.mark.slow] if entry.config.get("depth", 0) > 1000 else [])
    for name, entry in read(packaged.manifest_path()).models.items()
    if "." not in name
]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_parameter_count_is_the_entrys(name):
    from zoo._loading.build import build
    from zoo._variables import init

    module, _ = build(ENTRIES[name])
    shapes = init.shapes(module, ENTRIES[name].inputs)
    count = sum(leaf.size for path, leaf in shapes.items() if path.startswith("params/"))
    assert count == ENTRIES[name].num_params


@pytest.mark.parametrize("name", FAMILIES.values(), ids=FAMILIES)
def test_building_twice_gives_equal_hashable_modules(name):
    from zoo._loading.build import build

    first, second = (build(ENTRIES[name])[0] for _ in range(2))
    assert first is not second
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("name", ["mlp_mnist", "vae_mnist"])
def test_models_that_are_loaded_twice_are_traced_once(name):
    first, second = zoo.load(name), zoo.load(name, seed=2)
    assert first.module is not second.module
    traces = []

    @jax.jit
    def norm(model):
        traces.append(model)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(model))

    assert norm(first) != norm(second)
    assert len(traces) == 1


def test_the_seed_decides_the_initial_arrays():
    arrays = [
        flatten(zoo.load("mlp_mnist", seed=seed).variables)["params/layers_0/kernel"] for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert np.any(arrays[0] != arrays[2])


def test_config_goes_to_the_family_and_into_the_entry():
    model = zoo.load("mlp_mnist", hidden=[4], num_classes=3)
    assert model.module.features == (4, 3)
    assert model.entry.config == {"hidden": (4,), "num_classes": 3}
    assert model.entry.num_params == sum(leaf.size for leaf in jax.tree.leaves(model.variables))
    assert model(np.zeros((2, 28, 28, 1), np.float32)).shape == (2, 3)


def test_the_inputs_follow_a_config_that_decides_their_shape():
    model = zoo.load("vae_mnist", input_shape=[6, 5, 3])
    assert [each.shape for each in model.entry.inputs] == [(1, 6, 5, 3), (1,)]
    images, *_ = model(np.zeros((2, 6, 5, 3)), np.zeros(2, int), rngs={"noise": jax.random.key(0)})
    assert images.shape == (2, 6, 5, 3)


def test_an_unknown_keyword_names_the_familys():
    with pytest.raises(zoo.ZooError) as caught:
        zoo.load("cnn_mnist", chanels=(4,), qqq=1)
    assert str(caught.value) == (
        "family 'cnn' has no 'chanels', 'qqq', only channels, hidden, num_classes, activation"
        "; did you mean 'channels'?"
    )


@pytest.mark.parametrize("module", [{}, {"module": zoo.cnn.create()}])
def test_a_misspelt_keyword_may_be_loads_own(module):
    with pytest.raises(zoo.ZooError, match=r"pretrain.*; did you mean 'pretrained'\?$"):
        zoo.load("cnn_mnist", pretrain=True, **module)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("google/vit-base-patch16-224", "; .* is written 'hf://google/vit-base-patch16-224'."),
        (3, "found int, expected a name, such as 'resnet18', or the path of a directory."),
        (
            __file__,
            "test_names.py' is a file, and a model is a directory of weights and config.json; .zoo conv",
        ),
    ],
)
def test_what_is_no_name_says_what_would_be_one(name, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.load(name)


def test_a_module_that_is_a_class_is_to_be_called():
    with pytest.raises(zoo.ZooError, match=r"found the class CNN; call it\."):
        zoo.load("cnn_mnist", module=zoo.cnn.CNN)


def test_a_pattern_without_wildcards_is_a_part_of_names():
    assert zoo.list_models("mnist") == zoo.list_models("*mnist*") == ["cnn_mnist", "mlp_mnist", "vae_mnist"]
    assert zoo.list_models("mnist*") == []


def test_a_value_that_the_family_cannot_use_is_refused():
    with pytest.raises(
        zoo.ZooError, match=r"family 'cnn' refuses {'channels': 3}: 'int' object is not iterable"
    ):
        zoo.load("cnn_mnist", channels=3)
    with pytest.raises(zoo.ZooError, match="no activation named 'swoosh'"):
        zoo.load("cnn_mnist", activation="swoosh")


def test_an_entry_without_weights_says_so(use_manifest):
    use_manifest(NET % "family: cnn")
    with pytest.raises(zoo.WeightsError, match=r"'net' has no published weights; use pretrained=False\."):
        zoo.load("net", pretrained=True)


@pytest.mark.parametrize(
    ("family", "message"),
    [("nothing", "of family 'nothing', which"), ("cli", "of family 'cli', which")],
)
def test_a_family_without_a_file_is_refused(family, message, use_manifest):
    use_manifest(NET % f"family: {family}")
    with pytest.raises(zoo.ManifestError, match=message):
        zoo.load("net")
