"""Encoder-decoders for summaries, translation and talk: BART, mBART, Marian, Pegasus, Blenderbot."""

from zoo._inference.generate import generate
from zoo.bart.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES, UNTIED
from zoo.bart.model import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
    TASKS,
    TENSOR_PARALLEL,
    Bart,
    create,
    inputs,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "IGNORED",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "UNTIED",
    "Bart",
    "create",
    "generate",
    "inputs",
]
