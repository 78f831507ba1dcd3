"""Decoder-only language model with learned positions: GPT-2."""

from zoo._inference.generate import generate
from zoo.gpt2.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.gpt2.model import END_TOKEN, GPT2, TASKS, TENSOR_PARALLEL, Cache, create

__all__ = [
    "CONFIG_FIELDS",
    "END_TOKEN",
    "GPT2",
    "IGNORED",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "Cache",
    "create",
    "generate",
]
