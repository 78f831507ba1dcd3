"""Encoder-decoder with relative positions, and its encoder alone: T5, FLAN-T5, mT5, UMT5."""

from zoo._inference.generate import generate
from zoo.t5.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES, UNTIED
from zoo.t5.model import T5, TASKS, TENSOR_PARALLEL, create, inputs

__all__ = [
    "CONFIG_FIELDS",
    "IGNORED",
    "T5",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "UNTIED",
    "create",
    "generate",
    "inputs",
]
