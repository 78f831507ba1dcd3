"""Networks for telephones and the like: blocks of several kinds, which each network lists."""

from zoo._nn.stages import CLASSIFIER, CLASSIFYING, HEADS
from zoo.mobile.model import (
    HEAD,
    LAST,
    REPLACED_HEAD,
    STEM,
    TORCH_NAMES,
    Mobile,
    create,
    inputs,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "HEAD",
    "HEADS",
    "LAST",
    "REPLACED_HEAD",
    "STEM",
    "TORCH_NAMES",
    "Mobile",
    "create",
    "inputs",
]
