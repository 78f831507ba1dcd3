"""Vision transformers: images as sequences of patches."""

from zoo._nn.patches import RESIZING
from zoo._nn.patches import patch_inputs as inputs
from zoo.vit.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.vit.model import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
    HEADLESS,
    HEADS,
    POOLING,
    STEM,
    TENSOR_PARALLEL,
    ViT,
    create,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "HEADLESS",
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
