"""Opens the GGUF files of llama.cpp, in the names and the order that transformers has for Llama.

The inverse of llama.cpp's convert_hf_to_gguf.py, but for the numbers: those of quantized tensors are given as
float32, each exactly what llama.cpp computes with.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.formats.gguf_blocks import numbers
from converters.formats.gguf_header import MAGIC, Header, Tensor, read_header
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import check_names
from converters.io.files import InputFile

ARCHITECTURE = "general.architecture"
ARCHITECTURES = ("llama", "qwen2", "qwen3")  # Mistral's files say that they are Llama's
# Frequencies of positions, which transformers computes of its options.
FREQUENCIES = "rope_freqs.weight"
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_IN_BLOCKS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Projections whose numbers llama.cpp has in another order -> the key with their number of heads.
_TURNED = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}


def starts(head: bytes) -> bool:
    """Returns whether a file's first bytes are this format's."""
    return head.startswith(MAGIC)


def open_gguf(file: InputFile, key: str | None) -> Opened:
    """Opens a file; it has one state dict only, so that there is no key to choose by.

    Raises:
        CheckpointError: it is damaged, or of an architecture or quantization that is not understood.
    """
    if key is not None:
        raise CheckpointError(f"has one state dict, none called {key!r}")
    header = described(file)
    tensors = {name: tensor for name, tensor in header.tensors.items() if name != FREQUENCIES}
    kinds = sorted({tensor.kind.name for tensor in tensors.values()})
    notes = [f"read as llama.cpp wrote it ({', '.join(kinds)}), in transformers' names"]
    if len(tensors) != len(header.tensors):
        notes.append(f"left out {FREQUENCIES}, which the options of positions give")
    found = {_name(name): _stored(file, name, tensor, header) for name, tensor in tensors.items()}
    check_names(found)
    return found, tuple(notes)


def described(file: InputFile) -> Header:
    """Reads what a file says of itself.

    Raises:
        CheckpointError: it is damaged, or of an architecture or quantization that is not understood.
    """
    header = read_header(file)
    found = header.metadata.get(ARCHITECTURE)
    if found not in ARCHITECTURES:
        raise CheckpointError(f"is a GGUF file of {found!r}; this version reads {', '.join(ARCHITECTURES)}")
    return header


def _name(name: str) -> str:
    """Returns transformers' name of a tensor.

    Raises:
        CheckpointError: it is none of these architectures'.
    """
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name, re.ASCII)
    known = match and (_NAMES if match[1] is None else _IN_BLOCKS).get(match[2])
    if not match or not known:
        raise CheckpointError(f"has a tensor {name!r}, which no architecture that is understood has")
    block = "" if match[1] is None else f"model.layers.{match[1]}."
    return f"{block}{known}.{match[3]}"


def _stored(file: InputFile, name: str, tensor: Tensor, header: Header) -> Stored:
    turn = _turn(name, tensor, header.metadata)
    return Stored(
        file=file,
        dtype=tensor.kind.dtype,
        shape=tensor.shape,
        identity=(file.path, name),
        read=partial(_read, file, tensor, turn),
        extent=None,
    )


def _read(file: InputFile, tensor: Tensor, turn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return turn(numbers(tensor.kind, file.view(tensor.start, tensor.nbytes), tensor.shape))


def _turn(name: str, tensor: Tensor, metadata: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what puts a tensor's rows in transformers' order.

    Of Llama, llama.cpp turns neighbors by the positions; transformers, a number of the first half of a head
    and one of the second.

    Raises:
        CheckpointError: the number of heads is missing, or does not divide the rows.
    """
    own = name.split(".")[-2]
    if metadata[ARCHITECTURE] != "llama" or own not in _TURNED:
        return np.asarray
    heads = metadata.get(f"llama.{_TURNED[own]}", metadata.get("llama.attention.head_count"))
    if type(heads) is not int or heads < 1 or tensor.shape[0] % (2 * heads):
        raise CheckpointError(f"{name!r} has {tensor.shape[0]} rows, for {heads!r} heads")
    return partial(_halves_first, heads)


def _halves_first(heads: int, rows: np.ndarray) -> np.ndarray:
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
