"""Files of Flax's own users: Orbax's directories, msgpack, and NumPy's archives."""

import io
import json

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization

import converters
import zoo
from converters import CheckpointError, read_checkpoint
from tests.converters.formats.bad import refused, zipped
from zoo._saving.convert import convert_to
from zoo._variables.tree import flatten

RNG = np.random.default_rng(0)
CONFIG = {"image_size": 16, "patch_size": 8, "width": 24, "depth": 2, "heads": 3, "num_classes": 5}


def equal(one, other) -> bool:
    one, other = flatten(one), flatten(other)
    return one.keys() == other.keys() and all(np.array_equal(one[path], other[path]) for path in one)


@pytest.fixture(scope="module")
def model():
    model = zoo.load("resnet20_cifar10", pretrained=True)
    return model.replace(variables=jax.tree.map(np.asarray, model.variables))


def write_orbax(directory, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory.absolute(), tree)


def write_msgpack(path, tree):
    path.write_bytes(serialization.to_bytes(tree))


def write_npz(path, tree):
    np.savez(path, **flatten(tree))


WRITERS = {"state": write_orbax, "state.msgpack": write_msgpack, "state.npz": write_npz}


@pytest.mark.parametrize("name", WRITERS)
def test_a_training_state_becomes_the_model_that_it_is_of(name, model, tmp_path):
    moments = {"mu": {"conv1": {"kernel": np.ones((3, 3, 3, 16), np.float32)}}}
    WRITERS[name](tmp_path / name, {"step": np.array(7, np.int32), "opt_state": moments, **model.variables})
    found = zoo.convert(tmp_path / name)
    assert equal(found.variables, model.variables)
    assert found.entry.name == "resnet20_cifar10"
    assert "left out 'opt_state', 'step'" in " ".join(found.notes)


def test_the_last_steps_of_a_manager_are_told_apart(model, tmp_path):
    for step in (5, 6):
        write_orbax(tmp_path / "run" / str(step) / "default", model.variables)
    with pytest.raises(CheckpointError, match="several checkpoints of Orbax: 5/default, 6/default"):
        read_checkpoint(tmp_path / "run")
    convert_to(tmp_path / "run" / "6", tmp_path / "out")
    assert equal(zoo.load(tmp_path / "out", pretrained=True).variables, model.variables)


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs)])
        self.norm = nnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.layers[0](x))


class Linen(nn.Module):
    def setup(self) -> None:
        self.layers = [nn.Dense(4)]
        self.norm = nn.BatchNorm(use_running_average=True)

    def __call__(self, x):
        return self.norm(self.layers[0](x))


@pytest.mark.parametrize("pure", [True, False])
def test_a_state_of_nnx_fits_modules_of_both_kinds(pure, tmp_path):
    state = nnx.state(Net(nnx.Rngs(3)))
    write_orbax(tmp_path / "net", {"model": nnx.to_pure_dict(state) if pure else state})
    found = converters.convert(tmp_path / "net", lambda: Net(nnx.Rngs(0)), key="model")
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(found)), nnx.to_pure_dict(state))
    variables = converters.convert(tmp_path / "net", Linen(), np.ones((1, 3)), key="model")
    np.testing.assert_array_equal(
        variables["params"]["layers_0"]["kernel"], state["layers"][0]["kernel"][...]
    )
    np.testing.assert_array_equal(variables["batch_stats"]["norm"]["var"], state["norm"]["var"][...])
    with pytest.raises(
        converters.ConversionError, match=r"are not those of Dense:\n  missing +params/kernel"
    ):
        converters.convert(tmp_path / "net", nn.Dense(3), np.ones((1, 3)))


def published(variables, *, big_vision: bool) -> dict[str, np.ndarray]:
    """A ViT's arrays as vision_transformer or big_vision name and shape them."""
    params = flatten(variables["params"])
    attention, mlp, norm = (0, 0, 1) if big_vision else (1, 3, 2)
    found = {
        "cls": params["cls_token"],
        ("" if big_vision else "Transformer/posembed_input/") + ("pos_embedding"): params["pos_embed"],
    }
    plain = {"embedding": "patch_embed", "Transformer/encoder_norm": "norm", "head": "head"}
    for index in range(2):
        home, block = f"Transformer/encoderblock_{index}", f"blocks_{index}"
        plain |= {f"{home}/LayerNorm_0": f"{block}/norm1", f"{home}/LayerNorm_{norm}": f"{block}/norm2"}
        plain |= {f"{home}/MlpBlock_{mlp}/Dense_{i}": f"{block}/mlp/fc{i + 1}" for i in (0, 1)}
        home = f"{home}/MultiHeadDotProductAttention_{attention}"
        kernel, bias = params[f"{block}/attn/qkv/kernel"], params[f"{block}/attn/qkv/bias"]
        for i, part in enumerate(("query", "key", "value")):
            found[f"{home}/{part}/kernel"] = kernel[:, 24 * i : 24 * (i + 1)].reshape(24, 3, 8)
            found[f"{home}/{part}/bias"] = bias[24 * i : 24 * (i + 1)].reshape(3, 8)
        found[f"{home}/out/kernel"] = params[f"{block}/attn/proj/kernel"].reshape(3, 8, 24)
        found[f"{home}/out/bias"] = params[f"{block}/attn/proj/bias"]
    for theirs, own in plain.items():
        found |= {
            f"{theirs}/{path.rpartition('/')[2]}": params[path]
            for path in params
            if path.rpartition("/")[0] == own
        }
    return {f"params/{path}" if big_vision else path: np.asarray(each) for path, each in found.items()}


@pytest.mark.parametrize("big_vision", [False, True])
def test_vision_transformers_of_jax_are_the_same_arrays(big_vision, tmp_path):
    model = zoo.load("vit_base_patch16_224", seed=1, **CONFIG)
    model = model.replace(
        variables=jax.tree.map(lambda a: RNG.normal(size=a.shape).astype(np.float32), model.variables)
    )
    arrays = published(model.variables, big_vision=big_vision)
    np.savez_compressed(tmp_path / "vit.npz", **arrays)
    found = zoo.convert(tmp_path / "vit.npz", model="vit_base_patch16_224", **CONFIG)
    assert equal(found.variables, model.variables)
    own = read_checkpoint(tmp_path / "vit.npz")
    np.testing.assert_array_equal(own["params/cls"], model.variables["params"]["cls_token"])


def test_a_state_dict_in_an_archive_keeps_its_names(tmp_path):
    tensors = {"fc.weight": RNG.normal(size=(3, 4)).T, "steps": np.asarray(3, ">i8")}
    np.savez(tmp_path / "net.npz", **tensors)
    found = read_checkpoint(tmp_path / "net.npz")
    assert {name: found.shapes[name] for name in found} == {"fc.weight": (4, 3), "steps": ()}
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)
        assert found[name].dtype == found.dtypes[name] == tensor.dtype.newbyteorder("=")
    converters.write_checkpoint(found, tmp_path / "again.npz")
    assert dict(np.load(tmp_path / "again.npz")).keys() == tensors.keys()


def npy(array, **changes) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {**np.lib.format.header_data_from_array_1_0(array), **changes})
    return file.getvalue() + array.tobytes()


BAD = {
    "objects": ({"a.npy": npy(np.ones(2), descr="|O")}, "expected numbers"),
    "too many": ({"a.npy": npy(np.ones(2), shape=(2**60,))}, "impossible shape"),
    "negative": ({"a.npy": npy(np.ones(2), shape=(-1,))}, "impossible shape"),
    "too few": ({"a.npy": npy(np.ones(2), shape=(1,))}, "needs 8 bytes, it has 16"),
    "a program": ({"a.npy": npy(np.ones(2)).replace(b"{'descr'", b"exit('descr")}, "damaged"),
    "another file": ({"a.npy": npy(np.ones(2)), "b.txt": b"text"}, "'b.txt' among its arrays"),
    "an empty name": ({"a//b.npy": npy(np.ones(2))}, "in its path"),
    "a version": ({"a.npy": b"\x93NUMPY\x09\x00" + bytes(80)}, "version"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_archive_is_refused(name, tmp_path):
    members, words = BAD[name]
    path = tmp_path / "net.npz"
    path.write_bytes(zipped(members))
    refused(path, words)


def test_a_damaged_archive_is_refused_wherever_it_is_damaged(tmp_path):
    whole, path = zipped({"a/b.npy": npy(np.arange(4.0))}), tmp_path / "net.npz"
    for size in range(len(whole) - 1, 40, -7):
        path.write_bytes(whole[:size])
        refused(path)
    at = whole.index(np.arange(4.0).tobytes()) + 9
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    refused(path, "CRC")


def test_a_damaged_directory_of_orbax_is_refused(tmp_path):
    directory = tmp_path / "net"
    write_orbax(directory, {"params": {"a": {"kernel": np.ones((4, 3), np.float32)}}})
    assert read_checkpoint(directory).shapes == {"params/a/kernel": (4, 3)}
    metadata = json.loads((directory / "_METADATA").read_text())
    (entry,) = metadata["tree_metadata"].values()
    for keys in (["params", "..", "a"], ["params", "b", "kernel"], []):
        parts = [{"key": key, "key_type": 2} for key in keys]
        content = {**metadata, "tree_metadata": {"x": {**entry, "key_metadata": parts}}}
        (directory / "_METADATA").write_text(json.dumps(content))
        refused(directory)
    for content in ("{", "[]", '{"tree_metadata": {"x": 3}}', '{"tree_metadata": {}}'):
        (directory / "_METADATA").write_text(content)
        refused(directory)
