"""Encoder of text with rotary positions, and attention that is local in most layers: ModernBERT."""

from zoo.bert.text_encoder import CLASSIFIER, CLASSIFYING, HEAD, NECK, TASKS, inputs
from zoo.modernbert.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.modernbert.model import TENSOR_PARALLEL, create

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
