"""Encoder of text that attends to contents and to relative positions apart: DeBERTa, versions 1 to 3."""

from zoo.bert.text_encoder import CLASSIFIER, CLASSIFYING, HEAD, NECK, TASKS, inputs
from zoo.deberta.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.deberta.model import TENSOR_PARALLEL, create

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "IGNORED",
    "NECK",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "create",
    "inputs",
]
