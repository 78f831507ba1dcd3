"""Vision transformers whose attention knows places: BEiT, EVA-02, DINOv3, RoPE-ViT."""

from zoo._nn.patches import patch_inputs as inputs
from zoo.eva.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.eva.model import Eva
from zoo.eva.options import HEADS, POOLING, ROTARY, create

HEAD, STEM = ("head",), ("patch_embed",)
CLASSIFIER, CLASSIFYING = {"head": "classification"}, ("classification",)
# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "([qkv]_proj|fc1|fc1_g|fc1_x)/kernel": (None, "model"),
    "([qkv]_proj|fc1|fc1_g|fc1_x)/bias": ("model",),
    "(proj|fc2)/kernel": ("model", None),
}

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "HEADS",
    "IGNORED",
    "POOLING",
    "ROTARY",
    "STEM",
    "TENSOR_PARALLEL",
    "TORCH_NAMES",
    "Eva",
    "create",
    "inputs",
]
