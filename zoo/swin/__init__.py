"""Swin transformers: attention in windows of images of any size, shifted in every second block."""

from zoo._nn.stages import CLASSIFIER, CLASSIFYING, HEADS
from zoo.swin.layouts import IGNORED, REPLACED_HEAD, TORCH_NAMES
from zoo.swin.model import (
    HEAD,
    STEM,
    VARIANTS,
    WINDOWS,
    Swin,
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
    "WINDOWS",
    "Swin",
    "create",
    "inputs",
]
