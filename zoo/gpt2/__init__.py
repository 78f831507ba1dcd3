"""Decoder-only language model with learned positions: GPT-2."""

from zoo._inference.generate import generate
from zoo._nn.caches import Cache
from zoo.gpt2.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.gpt2.model import (
    CLASSIFIER,
    CLASSIFYING,
    END_TOKEN,
    GPT2,
    HEAD,
    TASKS,
    TENSOR_PARALLEL,
    create,
    inputs,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "END_TOKEN",
    "GPT2",
    "HEAD",
    "IGNORED",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "Cache",
    "create",
    "generate",
    "inputs",
]
