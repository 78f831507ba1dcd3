import dataclasses
import json
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import converters
import zoo
from zoo._registry.manifest import read
from zoo._variables.tree import flatten

DTYPES = (
    *("float64", "float32", "float16", "int64", "int32", "int16", "int8"),
    *("uint64", "uint32", "uint16", "uint8", "bool", "complex64"),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
)


@pytest.fixture
def model():
    module = nn.Dense(2)
    return zoo.Model(module, module.init(jax.random.key(0), jnp.ones((1, 3))))


def test_every_dtype_comes_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        arrays = {}
        for dtype in map(np.dtype, DTYPES):
            bits = rng.integers(0, 2 if dtype.kind == "b" else 256, (3, 4 * dtype.itemsize), np.uint8)
            arrays[str(dtype)] = jnp.asarray(bits.view(dtype))
        arrays |= {"scalar": jnp.float32(3), "empty": jnp.zeros((0, 3)), "numpy": np.arange(3.0)[::-1]}
        zoo.save(zoo.Model(nn.Dense(1), {"params": arrays}), tmp_path / "model")
        back = zoo.load(tmp_path / "model", module=nn.Dense(1), pretrained=True).variables["params"]
        assert back.keys() == arrays.keys()
        for name, array in arrays.items():
            assert back[name].dtype == array.dtype
            assert back[name].shape == array.shape
            assert np.asarray(back[name]).tobytes() == np.asarray(array).tobytes()


@pytest.mark.parametrize("name", ["mlp_mnist", "cnn_mnist", "vae_mnist"])
def test_a_model_comes_back_with_its_entry(name, saved):
    first, back = zoo.load(name, seed=1), zoo.load(saved[name], pretrained=True)
    assert jax.tree.all(jax.tree.map(np.array_equal, first.variables, back.variables))
    assert back.module == first.module
    assert dataclasses.replace(back.entry, weights=None) == first.entry
    assert zoo.info(f"{saved[name]}{os.sep}") == back.entry


def test_overrides_come_back_from_a_directory(tmp_path):
    model = zoo.load("mlp_mnist", hidden=[4], num_classes=3)
    zoo.save(model, tmp_path / "deep" / "model")
    assert zoo.load(tmp_path / "deep" / "model", pretrained=True).module == model.module
    assert zoo.load(tmp_path / "deep" / "model", num_classes=5).module.features == (4, 5)


def test_a_module_of_ones_own_comes_back_with_module(model, tmp_path):
    zoo.save(model, tmp_path / "model", inputs=[np.ones((1, 3), np.float32)])
    back = zoo.load(tmp_path / "model", module=nn.Dense(2), pretrained=True)
    assert jax.tree.all(jax.tree.map(np.array_equal, model.variables, back.variables))
    assert back.entry.name == "Dense"
    with pytest.raises(
        zoo.ZooError, match=r"'Dense' is a module of your own, none of the zoo's; pass it as module="
    ):
        zoo.load(tmp_path / "model", pretrained=True)
    with pytest.raises(zoo.WeightsError, match=r"misshapen  params/kernel: \(3, 2\) for \(3, 5\)"):
        zoo.load(tmp_path / "model", module=nn.Dense(5), pretrained=True)


def test_one_example_input_needs_no_list_and_what_is_none_is_refused(model, tmp_path):
    zoo.save(model, tmp_path / "model", inputs=np.ones((1, 3), np.float32))
    assert zoo.info(tmp_path / "model").inputs[0].shape == (1, 3)
    for wrong in ([(1, 3)], "x", 3, [3.0]):
        with pytest.raises(zoo.ZooError, match=r"inputs=.*; expected arrays or jax\.ShapeDtypeStructs"):
            zoo.save(model, tmp_path / "other", inputs=wrong)


@pytest.mark.parametrize("wrong", [3, "ab", {0: "a", 1: "b"}])
def test_labels_that_are_no_list_and_preprocessing_that_is_code_are_refused(wrong, model, tmp_path):
    with pytest.raises(zoo.ZooError, match=r"labels=.*; expected a name for each of the .* classes"):
        zoo.save(model, tmp_path / "model", labels=wrong)
    with pytest.raises(zoo.ZooError, match=r"preprocess=<.*; expected a name, a file, or a mapping of fie"):
        zoo.save(model, tmp_path / "model", preprocess=lambda pixels: pixels)
    zoo.save(model, tmp_path / "model", labels=np.array(["a", "b"]))
    assert zoo.info(tmp_path / "model").class_names == ("a", "b")


def test_without_inputs_a_module_of_ones_own_cannot_be_initialised(model, tmp_path):
    zoo.save(model, tmp_path / "model")
    zoo.load(tmp_path / "model", module=nn.Dense(2), pretrained=True)
    with pytest.raises(zoo.ZooError, match="'Dense' was saved without inputs="):
        zoo.load(tmp_path / "model", module=nn.Dense(2))


def test_metrics_stay_with_the_bytes_that_they_were_measured_on(tmp_path):
    model = zoo.load("mlp_mnist")
    measured = dataclasses.replace(model.entry, metrics={"accuracy": 0.5})
    zoo.save(zoo.Model(model.module, model.variables, measured), tmp_path / "first")
    loaded = zoo.load(tmp_path / "first", pretrained=True)
    assert loaded.entry.metrics == {"accuracy": 0.5}
    zoo.save(loaded, tmp_path / "same")
    assert zoo.info(tmp_path / "same") == loaded.entry
    zoo.save(
        loaded.replace(variables=jax.tree.map(lambda leaf: leaf + 1, loaded.variables)), tmp_path / "other"
    )
    assert zoo.info(tmp_path / "other").metrics == {}


def test_saving_keeps_other_files_and_refuses_a_model(model, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("mine")
    zoo.save(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before.keys() == {"metrics.jsonl", "model.safetensors", "config.json"}
    with pytest.raises(zoo.ZooError, match=r"has model.safetensors and config.json already"):
        zoo.save(model, tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"params": {"key": jax.random.key(0), "n": 3}}, r"params/key: key<fry>\n  params/n: int"),
        ({"params": {"text": np.array(["a"])}}, "params/text"),
        ({"params": {"a/b": np.zeros(3)}}, "params/'a/b' cannot be a path"),
        ({"params": {}}, "found: none"),
    ],
    ids=["key", "text", "slash", "nothing"],
)
def test_what_a_file_cannot_hold_is_refused(variables, message, tmp_path):
    with pytest.raises(zoo.WeightsError, match=message):
        zoo.save(zoo.Model(nn.Dense(1), variables), tmp_path / "model")
    assert not (tmp_path / "model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            lambda variables: variables["params"],
            "missing params/layers_0/.*these are its params alone: variables=",
        ),
        (
            lambda variables: {"params": {"layers_0": variables["params"]["layers_0"]}},
            "missing params/layers_1/kernel, and 1 more",
        ),
        (lambda variables: variables | {"cache": {"k": np.ones(3)}}, "MLP: left over cache/k; init gives"),
        (lambda variables: jax.tree.map(lambda leaf: leaf[:1], variables), r"misshapen params/.* \(1,.* and"),
    ],
    ids=["params alone", "a layer less", "a collection more", "shapes"],
)
def test_variables_that_are_not_the_modules_are_refused(changed, message, tmp_path):
    model = zoo.load("mlp_mnist", hidden=[4])
    with pytest.raises(zoo.WeightsError, match=message):
        zoo.save(model.replace(variables=changed(dict(model.variables))), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_numbers_that_are_none_are_saved_and_told(model, tmp_path, caplog):
    variables = {"params": {**model.variables["params"], "bias": np.array([1, np.nan], np.float32)}}
    zoo.save(model.replace(variables=variables), tmp_path / "model")
    assert caplog.messages == ["Dense is saved with NaN or infinity in params/bias"]


@pytest.mark.parametrize("value", [object(), {"a": {3: 4}}], ids=["object", "numbers as keys"])
def test_a_config_that_does_not_come_back_is_refused_without_a_trace(value, model, tmp_path):
    entry = zoo.Entry("mine", 8, config={"option": value})
    with pytest.raises(zoo.ZooError, match=r"config.json cannot hold"):
        zoo.save(zoo.Model(model.module, model.variables, entry), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(zoo.WeightsError, match=r"file' cannot be saved: File exists"):
        zoo.save(model, tmp_path / "file")


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.pth"])
def test_the_name_of_a_file_is_no_directory(name, model, tmp_path):
    with pytest.raises(zoo.ZooError, match=r"saved as a directory; choose a name such as '.*mine'\."):
        zoo.save(model, tmp_path / name)
    assert not list(tmp_path.iterdir())
    (tmp_path / name).mkdir()
    zoo.save(model, tmp_path / name)


def test_a_directory_before_the_model_is_refused(model, tmp_path):
    with pytest.raises(zoo.ZooError, match=r"takes a model and then a directory, found str first\."):
        zoo.save(str(tmp_path / "model"), model)


def test_interrupted_saving_leaves_nothing(model, tmp_path, monkeypatch):
    def interrupt(entry):
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo._saving.save.to_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        zoo.save(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_config_is_a_manifest_entry_in_json(saved):
    config = json.loads((saved["cnn_mnist"] / "config.json").read_text())
    entry = read().models["cnn_mnist"]
    assert config["family"] == "cnn"
    assert config["num_params"] == entry.num_params
    assert config["inputs"] == [{"name": "images", "shape": [1, 28, 28, 1], "dtype": "float32"}]


def test_sharded_or_cast_models_save_what_they_hold(saved, tmp_path):
    model = zoo.load(saved["mlp_mnist"], pretrained=True, param_dtype="bfloat16")
    zoo.save(model, tmp_path / "narrow")
    back = zoo.load(tmp_path / "narrow", pretrained=True)
    assert {str(leaf.dtype) for leaf in flatten(back.variables).values()} == {"bfloat16"}


def test_the_weights_are_hashed_once(tmp_path, hashed):
    zoo.save(zoo.load("mlp_mnist"), tmp_path / "saved")
    assert hashed == ["model.safetensors"]


def test_the_tokenizer_of_a_model_of_texts_comes_along(tmp_path):
    name = "gpt_shakespeare"
    model = zoo.load(name, pretrained=True)
    zoo.save(model, tmp_path / "saved")
    assert zoo.tokenizer(tmp_path / "saved").to_str() == zoo.tokenizer(name).to_str()
    zoo.save(zoo.load(name), tmp_path / "new")  # initialised: nobody has said which tokens it will have
    assert not (tmp_path / "new" / "tokenizer.json").exists()


def test_only_weights_as_they_were_loaded_have_their_source(tmp_path):
    """Weights that were initialised or changed here are nobody else's work."""
    random = zoo.load("mlp_mnist", hidden=[4])
    assert random.entry.source is None
    published = dataclasses.replace(random.entry, source="somebody")
    zoo.save(zoo.Model(random.module, random.variables, published), tmp_path / "first")
    loaded = zoo.load(tmp_path / "first", pretrained=True)
    doubled = loaded.replace(variables=jax.tree.map(lambda leaf: 2 * leaf, loaded.variables))
    for model, source in (
        (loaded, "somebody"),
        (doubled, f"zoo.save of weights loaded as {loaded.entry.name}"),
    ):
        zoo.save(model, tmp_path / source[:8])
        assert zoo.info(tmp_path / source[:8]).source == source
    changed = zoo.info(tmp_path / "zoo.save")
    assert (changed.base_model, changed.metrics) == (loaded.entry.name, {})


def test_weights_that_were_loaded_with_another_head_name_their_base_and_nobody_as_source():
    features = zoo.load("resnet20_cifar10", pretrained=True, num_classes=0).entry
    assert (features.base_model, features.source, features.metrics) == ("resnet20_cifar10", None, {})
    assert features.license == zoo.info("resnet20_cifar10").license  # what is made of them is bound by it


@pytest.mark.parametrize("form", ["safetensors", "msgpack", "npz", "orbax"])
def test_a_model_comes_back_from_each_format(form, model, tmp_path):
    target = tmp_path / "model"
    zoo.save(model, target, format=form, inputs=[np.ones((1, 3), np.float32)])
    with pytest.raises(zoo.ZooError):
        zoo.save(model, target, format=form)
    zoo.save(model, target, format=form, overwrite=True)
    if form == "orbax":
        back = converters.convert(target, model.module, np.ones((1, 3), np.float32))
    else:
        assert [path.suffix for path in target.iterdir() if path.suffix != ".json"] == [f".{form}"]
        back = zoo.load(target, module=model.module, pretrained=True).variables
    assert jax.tree.all(jax.tree.map(np.array_equal, dict(model.variables), dict(back)))
