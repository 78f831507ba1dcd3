"""Vision transformers: images as sequences of patches."""

from zoo.vit.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.vit.model import (
    CLASSIFIER,
    HEAD,
    HEADS,
    POOLING,
    RESIZING,
    STEM,
    TENSOR_PARALLEL,
    ViT,
    create,
    inputs,
)

__all__ = [
    "CLASSIFIER",
    "CONFIG_FIELDS",
    "HEAD",
    "HEADS",
    "IGNORED",
    "POOLING",
    "RESIZING",
    "STEM",
    "TENSOR_PARALLEL",
    "TORCH_NAMES",
    "ViT",
    "create",
    "inputs",
]
