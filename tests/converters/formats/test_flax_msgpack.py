"""flax_model.msgpack as transformers 4 wrote it: the state dict of the same model."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import serialization, traverse_util

import zoo
from converters import CheckpointError, read_checkpoint
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.loading.test_transformers_config import BERT, GPT2, write

LEAVES = {torch.nn.LayerNorm: "scale", torch.nn.Embedding: "embedding"}
MODELS = {
    "bert": (BERT, lambda: text_models.bert("BertForMaskedLM")),
    "gpt2": (GPT2, text_models.gpt2),
}


def written_by_transformers_4(module: torch.nn.Module) -> bytes:
    """The params of its Flax model: kernels (in, out), but FlaxConv1D's, which are (out, in)."""
    flat = {}
    for name, parameter in module.named_parameters():
        path, array = name.split("."), parameter.detach().numpy()
        layer = module.get_submodule(".".join(path[:-1]))
        if path[-1] == "weight":
            path[-1] = LEAVES.get(type(layer), "kernel")
            array = array.T if path[-1] == "kernel" else array
        flat[tuple(path)] = jnp.asarray(array)
    return serialization.to_bytes(traverse_util.unflatten_dict(flat))


@pytest.fixture(params=MODELS)
def folder(request, tmp_path):
    config, make = MODELS[request.param]
    module = randomise(make()).float()
    directory = write(tmp_path / "safetensors", config, state_dict(module))
    other = write(tmp_path / "flax", config, state_dict(module))
    (other / "model.safetensors").unlink()
    (other / "flax_model.msgpack").write_bytes(written_by_transformers_4(module))
    return module, directory, other


def test_its_arrays_are_those_of_the_state_dict(folder):
    module, _, directory = folder
    found = read_checkpoint(directory)
    tensors = state_dict(module)
    assert "Flax" in " ".join(found.notes)
    for name, _ in module.named_parameters():
        np.testing.assert_array_equal(found[name], tensors[name])
        assert found[name].flags.c_contiguous
        assert found.shapes[name] == tensors[name].shape


def test_a_folder_of_it_loads_as_the_same_model(folder):
    _, directory, other = folder
    expected, found = (zoo.load(str(each), pretrained=True) for each in (directory, other))
    ids = np.array([[5, 2, 7]])
    np.testing.assert_array_equal(found(ids).logits, expected(ids).logits)


FILES = {
    "an attention's kernel": ({"h": {"0": {"kernel": np.ones((2, 3, 4))}}}, "no file of transformers"),
    "a text for an array": ({"h": {"0": {"kernel": "text"}}}, "has str for 'h.0.kernel'"),
    "two of one name": ({"h": {"0": {"scale": np.ones(2), "kernel": np.ones((2, 2))}}}, "of one name"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_has_no_names_in_pytorch_is_refused(name, tmp_path):
    tree, words = FILES[name]
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(serialization.msgpack_serialize(tree))
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(path)


def test_a_cut_file_is_damaged(tmp_path):
    path = tmp_path / "flax_model.msgpack"
    whole = serialization.msgpack_serialize({"h": {"0": {"bias": np.ones(9)}}})
    for size in range(8, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged Flax msgpack file"):
            read_checkpoint(path)
