"""Vision transformers: images as sequences of patches."""

from zoo._nn.patches import RESIZING
from zoo._nn.patches import patch_inputs as inputs
from zoo.vit.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.vit.model import ViT
from zoo.vit.options import HEADS, POOLING, create

HEAD, STEM = ("head", "head_dist"), ("patch_embed",)
CLASSIFIER, CLASSIFYING = {"head": "classification"}, ("classification",)
HEADLESS = {"pooler": (r"(.*\.)?pooler\..*", "none")}
# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "(qkv|fc1)/kernel": (None, "model"),
    "(qkv|fc1)/bias": ("model",),
    "(proj|fc2)/kernel": ("model", None),
}

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
