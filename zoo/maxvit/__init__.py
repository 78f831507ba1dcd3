"""MaxViT: convolutions, then attention inside windows and across a grid, for images that these divide."""

from zoo._nn.stages import CLASSIFIER, CLASSIFYING, HEADS
from zoo.maxvit.model import (
    HEAD,
    IGNORED,
    REPLACED_HEAD,
    STEM,
    TORCH_NAMES,
    VARIANTS,
    MaxViT,
    create,
    inputs,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "HEAD",
    "HEADS",
    "IGNORED",
    "REPLACED_HEAD",
    "STEM",
    "TORCH_NAMES",
    "VARIANTS",
    "MaxViT",
    "create",
    "inputs",
]
