"""Vision transformers: images as sequences of patches."""

from zoo.vit.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.vit.model import HEAD, RESIZING, STEM, TENSOR_PARALLEL, ViT, create, inputs

__all__ = [
    "CONFIG_FIELDS",
    "HEAD",
    "IGNORED",
    "RESIZING",
    "STEM",
    "TENSOR_PARALLEL",
    "TORCH_NAMES",
    "ViT",
    "create",
    "inputs",
]
