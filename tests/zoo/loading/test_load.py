import hashlib
import json
import os
import shutil
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from converters.formats import safetensors
from tests.zoo.conftest import SAVED
from zoo._loading import weights
from zoo._variables.tree import flatten


def rewrite(directory, change, **fields):
    """Changes the arrays of a saved model, its hash with them, and other fields of its config."""
    path = directory / "model.safetensors"
    arrays = {name: np.array(array) for name, array in safetensors.parse(np.fromfile(path, np.uint8)).items()}
    change(arrays)
    safetensors.write(path, arrays, overwrite=True)
    config = json.loads((directory / "config.json").read_text())
    content = path.read_bytes()
    config["weights"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (directory / "config.json").write_text(json.dumps(config | fields))


@pytest.fixture
def mlp(saved, tmp_path):
    """A saved MLP that a test may damage."""
    return shutil.copytree(saved["mlp_mnist"], tmp_path / "mlp")


@pytest.mark.parametrize("name", SAVED)
def test_loading_weights_draws_no_random_numbers(name, saved, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("initialised")

    monkeypatch.setattr("zoo._variables.init.initialize", refuse)
    monkeypatch.setattr(jax, "jit", refuse)
    model = zoo.load(saved[name], pretrained=True)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model.variables))


def test_arrays_share_the_files_memory(saved, monkeypatch):
    buffers = []
    read_buffer = weights.read_buffer

    def seen(path, buffer, **options):
        buffers.append(buffer)
        return read_buffer(path, buffer, **options)

    monkeypatch.setattr(weights, "read_buffer", seen)
    variables = zoo.load(saved["cnn_mnist"], pretrained=True).variables
    start = buffers[0].ctypes.data
    end = start + buffers[0].nbytes
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(variables)]
    assert all(start <= pointer < end for pointer in pointers)


def test_all_differences_are_in_one_error(mlp):
    def change(arrays):
        arrays["params/layers_0/weight"] = arrays.pop("params/layers_0/kernel")
        arrays["params/layers_1/kernel"] = arrays["params/layers_1/kernel"].T.copy()
        arrays["params/layers_1/bias"] = arrays["params/layers_1/bias"].astype(np.int32)
        arrays["batch_stats/mean"] = np.zeros(3, np.float32)

    rewrite(mlp, change)
    with pytest.raises(zoo.WeightsError) as caught:
        zoo.load(mlp, pretrained=True)
    assert str(caught.value) == (
        "the weights do not fit MLP:\n"
        "  missing    params/layers_0/kernel\n"
        "  misshapen  params/layers_1/kernel: (10, 128) for (128, 10)\n"
        "  wrong kind params/layers_1/bias: int32 for float32\n"
        "  left over  params/layers_0/weight\n"
        "  left over  batch_stats/mean"
    )


def test_weights_of_another_size_are_refused_by_config(saved):
    with pytest.raises(zoo.WeightsError, match=r"params/layers_1/kernel: \(128, 10\) for \(128, 5\)"):
        zoo.load(saved["mlp_mnist"], pretrained=True, num_classes=5)


@pytest.mark.parametrize("where", [0, 100, -1], ids=["header length", "header", "last byte"])
def test_a_flipped_byte_is_refused_at_every_load(where, mlp):
    zoo.load(mlp, pretrained=True)
    content = bytearray((mlp / "model.safetensors").read_bytes())
    content[where] ^= 1
    (mlp / "model.safetensors").write_bytes(content)
    with pytest.raises(zoo.WeightsError, match=r"model.safetensors' has sha256 [0-9a-f]{64}, expected"):
        zoo.load(mlp, pretrained=True)


@pytest.mark.parametrize(
    "change", [lambda content: content[:-1], lambda content: content + b"\0", lambda content: b""]
)
def test_another_length_is_refused(change, mlp):
    path = mlp / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(zoo.WeightsError, match=r"has [\d,]+ bytes, expected 411,\d+; get it again"):
        zoo.load(mlp, pretrained=True)


def test_a_missing_or_special_weights_file_is_refused(mlp):
    os.remove(mlp / "model.safetensors")
    with pytest.raises(zoo.WeightsError, match="No such file"):
        zoo.load(mlp, pretrained=True)
    os.mkfifo(mlp / "model.safetensors")
    with pytest.raises(zoo.WeightsError, match="is a named pipe"):
        zoo.load(mlp, pretrained=True)


def test_an_entry_with_a_wrong_count_is_refused(mlp):
    config = mlp / "config.json"
    config.write_text(config.read_text().replace("101770", "101771"))
    with pytest.raises(zoo.WeightsError, match="has 101,770 parameters; its entry says 101,771"):
        zoo.load(mlp, pretrained=True)


def test_a_broken_config_lists_its_problems(mlp):
    config = json.loads((mlp / "config.json").read_text())
    config["weights"]["file"] = "../model.safetensors"
    del config["num_params"]
    (mlp / "config.json").write_text(json.dumps(config))
    with pytest.raises(zoo.ManifestError) as caught:
        zoo.load(mlp, pretrained=True)
    assert "\n  num_params: missing" in str(caught.value)
    assert "\n  weights.file: expected a plain file name" in str(caught.value)


def test_a_pytorch_file_is_converted_by_its_layout(mlp, monkeypatch):
    expected = zoo.load(mlp, pretrained=True).variables

    def change(arrays):
        for index in (0, 1):
            arrays[f"net.{index}.weight"] = arrays.pop(f"params/layers_{index}/kernel").T.copy()
            arrays[f"net.{index}.bias"] = arrays.pop(f"params/layers_{index}/bias")

    rewrite(mlp, change, layout="torch")
    with pytest.raises(zoo.ManifestError, match=r"layout 'torch'; family 'mlp' knows none"):
        zoo.load(mlp, pretrained=True)
    monkeypatch.setattr("zoo.mlp.TORCH_NAMES", {"torch": ((r"^layers\.", "net."),)}, raising=False)
    variables = zoo.load(mlp, pretrained=True).variables
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, expected))


@pytest.mark.parametrize("pretrained", [True, False])
def test_param_dtype_casts_floating_params_only(mlp, pretrained):
    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.param("steps", lambda key: jnp.arange(3))
            self.variable("batch_stats", "mean", jnp.zeros, 2)
            return nn.Dense(2)(x)

    module = Counting()
    variables = module.init(jax.random.key(0), jnp.ones((1, 4)))
    zoo.save(zoo.Model(module, variables), mlp / "inner", inputs=[jnp.ones((1, 4))])
    model = zoo.load(mlp / "inner", module=module, pretrained=pretrained, param_dtype="bfloat16")
    assert {path: str(leaf.dtype) for path, leaf in flatten(model.variables).items()} == {
        "params/steps": "int32",
        "batch_stats/mean": "float32",
        "params/Dense_0/kernel": "bfloat16",
        "params/Dense_0/bias": "bfloat16",
    }


def test_param_dtype_refuses_numbers_that_it_cannot_hold(mlp):
    def change(arrays):
        arrays["params/layers_1/bias"][0] = 1e6

    rewrite(mlp, change)
    with pytest.raises(zoo.WeightsError, match=r"params/layers_1/bias has numbers beyond float16's 65504"):
        zoo.load(mlp, pretrained=True, param_dtype=jnp.float16)
    zoo.load(mlp, pretrained=True, param_dtype=jnp.bfloat16)


def test_dtype_is_what_the_module_computes_in(saved):
    x = np.zeros((1, 28, 28, 1), np.float32)
    forms = [
        zoo.load(saved["mlp_mnist"], pretrained=True, dtype=dtype) for dtype in ("bfloat16", jnp.bfloat16)
    ]
    assert forms[0].module == forms[1].module
    assert forms[0](x).dtype == jnp.bfloat16
    assert forms[0].variables["params"]["layers_0"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize("keyword", ["dtype", "param_dtype"])
@pytest.mark.parametrize("dtype", ["int32", jnp.complex64, bool, "float31", "float64"])
def test_a_dtype_of_the_wrong_kind_is_refused(keyword, dtype):
    with pytest.raises(zoo.ZooError, match=f"^{keyword}="):
        zoo.load("mlp_mnist", **{keyword: dtype})


def test_64_bit_arrays_are_refused_unless_jax_holds_them(mlp):
    def change(arrays):
        arrays["params/layers_1/bias"] = arrays["params/layers_1/bias"].astype(np.float64)

    rewrite(mlp, change)
    with pytest.raises(zoo.WeightsError, match=r"(?s)jax_enable_x64.*params/layers_1/bias: float64"):
        zoo.load(mlp, pretrained=True)
    narrow = zoo.load(mlp, pretrained=True, param_dtype="float32")
    assert narrow.variables["params"]["layers_1"]["bias"].dtype == np.float32
    with jax.enable_x64(True):
        wide = zoo.load(mlp, pretrained=True)
        assert wide.variables["params"]["layers_1"]["bias"].dtype == np.float64
        assert (
            zoo.load(mlp, param_dtype="float64").variables["params"]["layers_1"]["bias"].dtype == np.float64
        )


def test_a_module_of_ones_own_takes_the_weights(saved):
    class Mine(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(128, name="layers_0")(x.reshape(len(x), -1)))
            return nn.Dense(10, name="layers_1")(x)

    x = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    theirs = zoo.load(saved["mlp_mnist"], pretrained=True)
    mine = zoo.load(saved["mlp_mnist"], pretrained=True, module=Mine())
    np.testing.assert_array_equal(mine(x), theirs(x))
    assert mine.entry.family is None
    with pytest.raises(zoo.WeightsError, match="the weights do not fit Dense"):
        zoo.load(saved["mlp_mnist"], pretrained=True, module=nn.Dense(3))
    with pytest.raises(zoo.ZooError, match="module= and num_classes= exclude each other"):
        zoo.load(saved["mlp_mnist"], module=Mine(), num_classes=3)
    with pytest.raises(zoo.ZooError, match="Mine has no field 'dtype'"):
        zoo.load(saved["mlp_mnist"], module=Mine(), dtype="bfloat16")
    with pytest.raises(
        zoo.ZooError, match=r"module= takes a flax\.linen module, found the class Mine; call it"
    ):
        zoo.load(saved["mlp_mnist"], module=Mine)


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_sharding_that_is_none_is_refused(saved, pretrained):
    for sharding in ("cpu", lambda path, leaf: None):
        with pytest.raises(zoo.ZooError, match=r"sharding= gave (None|'cpu') for params/layers_0/"):
            zoo.load(saved["mlp_mnist"], pretrained=pretrained, sharding=sharding)


SHARDED = """
import sys
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding
import zoo

mesh = jax.make_mesh((4,), ("data",))
plain = zoo.load(sys.argv[1], pretrained=True)

def place(path, leaf):
    assert isinstance(leaf, jax.ShapeDtypeStruct) and path.startswith("params/")
    axis = next((i for i, size in enumerate(leaf.shape) if size % 4 == 0), None)
    return NamedSharding(mesh, PartitionSpec(*[None] * (axis or 0), *[] if axis is None else ["data"]))

second = SingleDeviceSharding(jax.devices()[1])
for pretrained in (True, False):
    model = zoo.load(sys.argv[1], pretrained=pretrained, seed=1, sharding=place)
    kernel = model.variables["params"]["layers_0"]["kernel"]
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(196, 128)}, kernel.sharding
    if pretrained:
        assert jax.tree.all(jax.tree.map(np.array_equal, model.variables, plain.variables))
    for leaf in jax.tree.leaves(zoo.load(sys.argv[1], pretrained=pretrained, sharding=second)):
        assert leaf.devices() == {jax.devices()[1]}
try:
    zoo.load(sys.argv[1], pretrained=True, sharding=NamedSharding(mesh, PartitionSpec(None, "data")))
except zoo.ZooError as error:
    assert "params/layers_0/bias" in str(error), error
else:
    raise AssertionError
"""


def test_arrays_go_where_sharding_says(saved):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "4"}
    subprocess.run([sys.executable, "-c", SHARDED, str(saved["mlp_mnist"])], env=environment, check=True)
