"""Image models of torchvision and timm with random weights, and two sizes of images that they take."""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import timm
import torch
import torchvision
from torch import nn

# Of timm's module files in an order drawn with the seed 17, the first 60 that have a model below 60 million
# parameters, and of each such a model, drawn as well.
TIMM: list[str] = json.loads(Path(__file__).with_name("porting.json").read_text(encoding="utf-8"))["timm"]

FAMILIES = (  # of torchvision's classifiers, one model of each
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t"),
    *("mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d"),
    *("shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vgg11_bn", "vit_b_16", "wide_resnet50_2"),
)
SIZES = {  # height of the images at first, and the second time; others take 64 and 96
    **dict.fromkeys(("vit", "maxvit"), (224, 224)),
    "inception_v3": (299, 331),  # whose auxiliary head takes no smaller ones
    "swin": (64, 64),
}


def torchvision_names() -> list[str]:
    """Names of all classifiers and segmentation models."""
    modules = torchvision.models, torchvision.models.segmentation
    return [name for module in modules for name in torchvision.models.list_models(module=module)]


def torchvision_model(name: str) -> tuple[nn.Module, int, int]:
    """A model, and the heights of images at first and the second time."""
    options: dict[str, object] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name in torchvision.models.list_models(module=torchvision.models.segmentation):
        options = {"weights_backbone": None, "num_classes": 5}
    sizes = next((each for prefix, each in SIZES.items() if name.startswith(prefix)), (64, 96))
    return torchvision.models.get_model(name, weights=None, **options), *sizes


def timm_model(name: str) -> tuple[nn.Module, int, int]:
    """A model, made for small images where it can be, and the heights of images at first and later."""
    refused: Exception | None = None
    for options, first, second in _tried(name):
        try:
            model = timm.create_model(name, **options).eval()
            with torch.no_grad():
                for height in (first, second):
                    model(torch.zeros(2, 3, height, height))
        except Exception as error:  # whatever a model raises that does not take such images
            refused = error
        else:
            return model, first, second
    raise RuntimeError(f"{name} takes no images that are known") from refused


def _tried(name: str) -> Iterator[tuple[dict[str, int], int, int]]:
    """Options and heights, the smallest first."""
    usual = timm.get_pretrained_cfg(name)
    size = usual.input_size[-1] if usual else 224
    fixed = bool(usual and usual.fixed_input_size)
    if not fixed:
        yield {}, 64, 96
    yield {"img_size": 64}, 64, 64
    yield {"img_size": 128}, 128, 128
    if not fixed:
        yield {}, 128, 192
    yield {}, size, size


def images(height: int, *, again: bool) -> torch.Tensor:
    """Random square images; the second time more of them."""
    generator = torch.Generator().manual_seed(int(again))
    return torch.randn(3 if again else 2, 3, height, height, generator=generator)
