"""Decoder-only language models with rotary positions: Llama, Mistral, Qwen, Gemma and their relatives."""

from zoo._inference.generate import generate
from zoo.llama.layers import NORMALIZATIONS, NORMS, QK_NORMS
from zoo.llama.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.llama.model import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
    LAYER_TYPES,
    TASKS,
    TENSOR_PARALLEL,
    Llama,
    create,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "IGNORED",
    "LAYER_TYPES",
    "NORMALIZATIONS",
    "NORMS",
    "QK_NORMS",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "Llama",
    "create",
    "generate",
]
