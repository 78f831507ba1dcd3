"""Residual networks for images of any size."""

from zoo._nn.stages import CLASSIFIER, CLASSIFYING, HEADS
from zoo.resnet.layers import ATTENTION, SHORTCUTS, STEM_POOLS, STEMS
from zoo.resnet.layouts import CONFIG_FIELDS, REPLACED_HEAD, TORCH_NAMES
from zoo.resnet.model import (
    BLOCKS,
    DEPTHS,
    HEAD,
    STEM,
    ResNet,
    create,
    inputs,
)

__all__ = [
    "ATTENTION",
    "BLOCKS",
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "DEPTHS",
    "HEAD",
    "HEADS",
    "REPLACED_HEAD",
    "SHORTCUTS",
    "STEM",
    "STEMS",
    "STEM_POOLS",
    "TORCH_NAMES",
    "ResNet",
    "create",
    "inputs",
]
