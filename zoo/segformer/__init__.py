"""SegFormer: a transformer whose stages halve the map, and a light head that labels pixels."""

from zoo.segformer.layouts import CONFIG_FIELDS, IGNORED, REPLACED_HEAD, TORCH_NAMES
from zoo.segformer.model import (
    CLASSIFYING,
    HEAD,
    HEADS,
    STEM,
    TASKS,
    TENSOR_PARALLEL,
    SegFormer,
    create,
    inputs,
)

__all__ = [
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "HEADS",
    "IGNORED",
    "REPLACED_HEAD",
    "STEM",
    "TASKS",
    "TENSOR_PARALLEL",
    "TORCH_NAMES",
    "SegFormer",
    "create",
    "inputs",
]
