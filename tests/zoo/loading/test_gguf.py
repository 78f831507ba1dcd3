"""Models in GGUF files: equal to those of transformers' files."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import zoo
from tests.support.gguf_files import F32, gguf_bytes

HEADS, KV, DIM, WIDTH, WORDS = 4, 2, 4, 16, 11
NAMES = {
    "self_attn.q_proj": ("attn_q", (HEADS * DIM, WIDTH)),
    "self_attn.k_proj": ("attn_k", (KV * DIM, WIDTH)),
    "self_attn.v_proj": ("attn_v", (KV * DIM, WIDTH)),
    "self_attn.o_proj": ("attn_output", (WIDTH, HEADS * DIM)),
    "mlp.gate_proj": ("ffn_gate", (24, WIDTH)),
    "mlp.up_proj": ("ffn_up", (24, WIDTH)),
    "mlp.down_proj": ("ffn_down", (WIDTH, 24)),
    "input_layernorm": ("attn_norm", (WIDTH,)),
    "post_attention_layernorm": ("ffn_norm", (WIDTH,)),
}
SIZES = {
    "context_length": 32,
    "embedding_length": WIDTH,
    "block_count": 1,
    "feed_forward_length": 24,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 500000.0,
}
CONFIG = {
    "max_position_embeddings": 32,
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "intermediate_size": 24,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "vocab_size": WORDS,
    "hidden_act": "silu",
}


def neighbors_first(rows, heads):
    """Returns rows as llama.cpp has them: the two numbers that turn together are neighbors."""
    return np.stack(np.split(rows.reshape(heads, DIM, -1), 2, axis=1), axis=2).reshape(rows.shape)


def files(kind, tmp_path, tied):
    """Writes the same numbers as a directory of transformers and as a GGUF file."""
    random = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (WORDS, WIDTH), "model.norm.weight": (WIDTH,)}
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if not tied:
        shapes["lm_head.weight"], names["lm_head.weight"] = (WORDS, WIDTH), "output.weight"
    for name, (other, shape) in NAMES.items():
        shapes[f"model.layers.0.{name}.weight"] = shape
        names[f"model.layers.0.{name}.weight"] = f"blk.0.{other}.weight"
        if kind == "qwen2" and name[-6:] in ("q_proj", "k_proj", "v_proj"):
            shapes[f"model.layers.0.{name}.bias"] = shape[:1]
            names[f"model.layers.0.{name}.bias"] = f"blk.0.{other}.bias"
    tensors = {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    directory = tmp_path / "model"
    directory.mkdir()
    save_file(tensors, directory / "model.safetensors")
    said = {"model_type": kind, "architectures": [f"{kind.capitalize()}ForCausalLM"]}
    (directory / "config.json").write_text(
        json.dumps(CONFIG | said | {"tie_word_embeddings": tied, "eos_token_id": 2})
    )
    metadata = {"general.architecture": kind, "tokenizer.ggml.eos_token_id": 2}
    metadata |= {f"{kind}.{key}": value for key, value in SIZES.items()}
    heads = {"q_proj": HEADS, "k_proj": KV} if kind == "llama" else {}
    stored = {
        names[name]: neighbors_first(array, heads[name.split(".")[-2]])
        if name.split(".")[-2] in heads
        else array
        for name, array in tensors.items()
    }
    path = tmp_path / "model.gguf"
    as_bytes = {name: (F32, array.shape, array.tobytes()) for name, array in stored.items()}
    path.write_bytes(gguf_bytes(metadata, as_bytes))
    return directory, path, metadata, as_bytes


@pytest.mark.parametrize(("kind", "tied"), [("llama", False), ("qwen2", True)])
def test_a_file_loads_as_the_model_that_it_was_made_of(kind, tied, tmp_path):
    directory, path, _, _ = files(kind, tmp_path, tied)
    wanted, found = (zoo.load(each, pretrained=True) for each in (directory, path))
    assert found.module == wanted.module
    jax.tree.map(np.testing.assert_array_equal, found.variables, wanted.variables)
    assert found.num_params == wanted.num_params
    assert zoo.load(str(path)).module == wanted.module


def test_what_a_file_says_that_no_option_stands_for_is_refused(tmp_path):
    _, path, metadata, tensors = files("llama", tmp_path, tied=True)
    more = {
        "llama.rope.scaling.type": "yarn",
        "llama.rope.dimension_count": 2,
        "llama.attention.key_length": 4,
    }
    frequencies = {"rope_freqs.weight": (F32, (2,), bytes(8))}
    del metadata["llama.block_count"]
    path.write_bytes(gguf_bytes(metadata | more, tensors | frequencies))
    with pytest.raises(zoo.ManifestError) as caught:
        zoo.load(path, pretrained=True)
    message = str(caught.value)
    assert "put the config.json of the model that it was made of beside it" in message
    for words in (
        "llama.rope.scaling.type: 'yarn'",
        "rope_freqs.weight: positions have frequencies of their own",
        "sizes of a head that differ: [2, 4]",
        "llama.block_count is missing",
    ):
        assert f"\n  {words}" in message
    path.write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(zoo.ManifestError, match="is a GGUF file of version 0"):
        zoo.load(path)


def test_beside_a_config_the_frequencies_are_those_of_its_options(tmp_path):
    directory, _, metadata, tensors = files("llama", tmp_path, tied=True)
    wanted = zoo.load(directory, pretrained=True)
    (directory / "model.safetensors").unlink()
    frequencies = {"rope_freqs.weight": (F32, (2,), bytes(8))}
    (directory / "any-name.gguf").write_bytes(gguf_bytes(metadata, tensors | frequencies))
    found = zoo.load(directory, pretrained=True)
    jax.tree.map(np.testing.assert_array_equal, found.variables, wanted.variables)
