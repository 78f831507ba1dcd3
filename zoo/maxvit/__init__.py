"""MaxViT: convolutions, then attention inside windows and across a grid, for images that these divide."""

from zoo.maxvit.model import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
    HEADS,
    IGNORED,
    REPLACED_HEAD,
    SIZES,
    STEM,
    TORCH_NAMES,
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
    "SIZES",
    "STEM",
    "TORCH_NAMES",
    "MaxViT",
    "create",
    "inputs",
]
