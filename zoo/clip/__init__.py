"""Encoders of texts and images in one space, for comparing any with any: CLIP, SigLIP, SigLIP 2."""

from zoo.clip.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.clip.model import (
    CLIP,
    HEADS,
    TASKS,
    TENSOR_PARALLEL,
    VARIANTS,
    ImageEncoder,
    TextEncoder,
    create,
    inputs,
    max_tokens,
)

__all__ = [
    "CLIP",
    "CONFIG_FIELDS",
    "HEADS",
    "IGNORED",
    "TASKS",
    "TENSOR_PARALLEL",
    "TORCH_NAMES",
    "VARIANTS",
    "ImageEncoder",
    "TextEncoder",
    "create",
    "inputs",
    "max_tokens",
]
