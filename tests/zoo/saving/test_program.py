"""Programs that run without this package."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo._saving import program
from zoo._saving.program import export_stablehlo

STRANGER = """
import sys
sys.modules["zoo"] = sys.modules["flax"] = None  # neither can be imported
import jax, numpy as np, safetensors.numpy
program = jax.export.deserialize(bytearray(open("program.stablehlo", "rb").read()))
weights = safetensors.numpy.load_file("model.safetensors")
images = np.load("images.npy")
np.save("logits.npy", program.call(weights, images))
"""


def test_a_program_runs_where_the_zoo_cannot_be_imported(tmp_path):
    directory = tmp_path / "mlp"
    model = zoo.load("mlp_mnist", pretrained=True)
    assert export_stablehlo("mlp_mnist", directory) <= 1e-6
    described = json.loads((directory / "program.json").read_text())
    assert described["inputs"] == [{"name": "images", "shape": ["batch", 28, 28, 1], "dtype": "float32"}]
    assert described["outputs"] == {"output": ["batch", "10"]}
    images = np.random.default_rng(0).normal(size=(5, 28, 28, 1)).astype(np.float32)
    np.save(directory / "images.npy", images)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment.pop("PYTHONPATH", None)
    subprocess.run([sys.executable, "-c", STRANGER], cwd=directory, check=True, env=environment)
    expected = np.asarray(model(images))
    found = np.load(directory / "logits.npy")
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()
    with pytest.raises(zoo.ZooError, match=r"has model\.safetensors"):
        export_stablehlo("mlp_mnist", directory)
    mine = directory / "images.npy"
    export_stablehlo("mlp_mnist", directory, weights="inside", overwrite=True)
    assert mine.exists()
    assert not (directory / "model.safetensors").exists()


def test_texts_may_have_any_length_and_weights_be_inside(tmp_path):
    model = zoo.load("bert-base-uncased", width=8, depth=1, heads=2, feed_forward=16, vocab_size=60)
    assert export_stablehlo(model, tmp_path / "bert", weights="inside") <= 1e-6
    assert not (tmp_path / "bert" / "model.safetensors").exists()
    exported = jax.export.deserialize(bytearray((tmp_path / "bert" / "program.stablehlo").read_bytes()))
    described = json.loads((tmp_path / "bert" / "program.json").read_text())
    assert [each["shape"] for each in described["inputs"]] == [["batch", "length"]] * 2
    ids, mask = jnp.arange(21, dtype=jnp.int32).reshape(3, 7), jnp.ones((3, 7), jnp.int32).at[1, 4:].set(0)
    right = model(ids, mask)
    for name, found in exported.call(ids, mask).items():
        np.testing.assert_allclose(found, getattr(right, name), atol=1e-6)


def test_a_program_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "TOLERANCE", -1.0)
    with pytest.raises(zoo.WeightsError, match="nothing was written"):
        export_stablehlo("mlp_mnist", tmp_path / "mlp")
    with pytest.raises(zoo.ZooError, match="cannot be exported"):
        export_stablehlo(zoo.load("vae_mnist"), tmp_path / "vae")
    assert not list(tmp_path.iterdir())
