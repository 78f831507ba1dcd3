"""Image classifiers of dense layers alone: MLP-Mixer and ResMLP."""

from zoo._nn.patches import patch_inputs as inputs
from zoo.mixer.model import HEADS, KINDS, Mixer, create

HEAD, STEM = ("head",), ("stem",)
CLASSIFIER, CLASSIFYING = {"head": "classification"}, ("classification",)
TORCH_NAMES = {"timm": ((r"^stem\.", "stem.proj."), (r"\.ls([12])\.gamma", r".ls\1"))}
# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "fc1/kernel": (None, "model"),
    "fc1/bias": ("model",),
    "fc2/kernel": ("model", None),
}

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "HEAD",
    "HEADS",
    "KINDS",
    "STEM",
    "TENSOR_PARALLEL",
    "TORCH_NAMES",
    "Mixer",
    "create",
    "inputs",
]
