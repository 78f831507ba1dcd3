"""Segmentation: a class for each pixel of images of any size."""

from zoo.segmentation.model import (
    BACKBONES,
    HEAD,
    HEADS,
    IGNORED,
    REPLACED_HEAD,
    TASKS,
    TORCH_NAMES,
    Segmenter,
    create,
    inputs,
)

__all__ = [
    "BACKBONES",
    "HEAD",
    "HEADS",
    "IGNORED",
    "REPLACED_HEAD",
    "TASKS",
    "TORCH_NAMES",
    "Segmenter",
    "create",
    "inputs",
]
