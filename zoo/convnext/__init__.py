"""Convolutional networks made as transformers are, for images of 32 pixels and more."""

from zoo._nn.stages import CLASSIFIER, CLASSIFYING, HEADS
from zoo.convnext.layers import STEMS
from zoo.convnext.layouts import REPLACED_HEAD, TORCH_NAMES
from zoo.convnext.model import (
    HEAD,
    STEM,
    VARIANTS,
    ConvNeXt,
    create,
    inputs,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "HEAD",
    "HEADS",
    "REPLACED_HEAD",
    "STEM",
    "STEMS",
    "TORCH_NAMES",
    "VARIANTS",
    "ConvNeXt",
    "create",
    "inputs",
]
