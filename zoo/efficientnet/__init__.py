"""Networks of inverted residuals with squeeze-and-excite, scaled in depth, width and size of images."""

from zoo._nn.stages import CLASSIFIER, CLASSIFYING, HEADS
from zoo.efficientnet.layouts import REPLACED_HEAD, TORCH_NAMES
from zoo.efficientnet.model import (
    HEAD,
    STEM,
    VARIANTS,
    EfficientNet,
    Stage,
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
    "TORCH_NAMES",
    "VARIANTS",
    "EfficientNet",
    "Stage",
    "create",
    "inputs",
]
