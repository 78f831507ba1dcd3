"""Models of torchvision, timm and transformers, which take a while to import."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


@cache
def declare_operators() -> torch.library.Library:
    """Makes torchvision's wheels, which are built for CUDA, importable beside a torch without it.

    Only the declarations of two operators are missing, which its Python models never call. They last as
    long as the library that this returns.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    if not hasattr(torch.ops.torchvision, "nms"):
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def torchvision_resnet(name: str = "", **options: Any) -> nn.Module:
    """A model by name, or one with `layers` bottlenecks in each stage."""
    declare_operators()
    from torchvision.models import get_model, resnet

    return get_model(name, **options) if name else resnet.ResNet(resnet.Bottleneck, **options)


def small_images(resnet: nn.Module) -> nn.Module:
    """The same with a 3x3 stem that keeps the size, as is usual on CIFAR."""
    resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    resnet.maxpool = nn.Identity()
    return resnet


def timm_model(name: str, **options: Any) -> nn.Module:
    declare_operators()
    import timm

    return timm.create_model(name, **options)


def transformers_resnet(
    layer_type: str, depths: Sequence[int], *, channels: int = 64, classes: int = 0
) -> nn.Module:
    """The classifier, or without classes the model below it."""
    declare_operators()  # transformers imports torchvision where it is installed
    import transformers

    class Logits(transformers.ResNetForImageClassification):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).logits

    class Features(transformers.ResNetModel):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).pooler_output.flatten(1)

    expansion = {"basic": 1, "bottleneck": 4}[layer_type]
    config = transformers.ResNetConfig(
        embedding_size=channels,
        hidden_sizes=[channels * expansion * 2**stage for stage in range(4)],
        depths=list(depths),
        layer_type=layer_type,
        num_labels=classes,
    )
    return Logits(config) if classes else Features(config)
