"""Models in GGUF files without a config.json: what the file says of itself, as transformers has it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.formats import gguf
from converters.io import InputFile, named_errors
from zoo._errors import ManifestError

SUFFIX = ".gguf"
_CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_ATTRIBUTES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
_NEEDED = ("embedding_length", "block_count", "feed_forward_length", "attention.head_count")
# Sizes of a head, which are one in these architectures.
_HEAD_DIMS = ("attention.key_length", "attention.value_length", "rope.dimension_count")
_IDS = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
_ADVICE = "put the config.json of the model that it was made of beside it, and name the directory"


def config(name: str, path: Path) -> bytes:
    """Returns the config.json of a file's model.

    Args:
        name: Name that it is loaded by.
        path: The file.

    Raises:
        ManifestError: it cannot be read, or says what no attribute stands for.
    """
    try:
        with named_errors(path):
            header = gguf.described(InputFile(path))
    except CheckpointError as error:
        raise ManifestError(str(error)) from error
    kind = header.metadata[gguf.ARCHITECTURE]
    said = {
        key.removeprefix(f"{kind}."): value
        for key, value in header.metadata.items()
        if key.startswith(f"{kind}.")
    }
    problems = [
        f"{kind}.{key}: {value!r}"
        for key, value in said.items()
        if key not in (*_ATTRIBUTES, *_HEAD_DIMS, "vocab_size")
    ]
    missing = [f"{kind}.{key} is missing" for key in _NEEDED if key not in said]
    words = header.tensors.get("token_embd.weight")
    problems += [*missing, *(() if words else ("token_embd.weight is missing",))]
    if gguf.FREQUENCIES in header.tensors:
        problems.append(f"{gguf.FREQUENCIES}: positions have frequencies of their own")
    sizes = {said[key] for key in _HEAD_DIMS if key in said}
    if len(sizes) > 1:
        problems.append(f"sizes of a head that differ: {sorted(sizes)}")
    if problems or words is None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{name!r} says what the zoo does not read; {_ADVICE}:{lines}")
    found = {attribute: _decimal(said[key]) for key, attribute in _ATTRIBUTES.items() if key in said}
    ids = {attribute: header.metadata[key] for key, attribute in _IDS.items() if key in header.metadata}
    made: Mapping[str, Any] = {
        "architectures": [_CLASSES[kind]],
        "model_type": kind,
        "hidden_act": "silu",
        "vocab_size": words.shape[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "eos_token_id": None,
        **({"head_dim": sizes.pop()} if sizes and kind != "qwen2" else {}),
        **found,
        **ids,
    }
    return json.dumps(made).encode()


def _decimal(value: Any) -> Any:
    """Returns the shortest decimal of a float32, as people wrote it before it was one."""
    return float(str(np.float32(value))) if isinstance(value, float) else value
