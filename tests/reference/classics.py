"""torchvision's early classifiers in fewer channels and blocks, and networks that measure images by them."""

import importlib
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from tests.reference.published import declare_operators, timm_model


def classic(name: str, *, narrow: int = 1, **options: Any) -> nn.Module:
    """A classifier of torchvision's early families; a part of the channels with `narrow`."""
    declare_operators()
    from torchvision import models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two will be initialized otherwise some day
        return narrowed(models.get_model(name, **options), narrow)


def classic_of(file: str, name: str, *args: Any, **options: Any) -> nn.Module:
    """A classifier of torchvision by the name of its class, in sizes of one's own."""
    declare_operators()
    return getattr(importlib.import_module(f"torchvision.models.{file}"), name)(*args, **options)


def timm_vgg(name: str, *, narrow: int, **options: Any) -> nn.Module:
    return narrowed(timm_model(name, **options), narrow)


def timm_densenet(**options: Any) -> nn.Module:
    declare_operators()
    from timm.models import densenet

    return densenet.DenseNet(**options)


def narrowed(module: nn.Module, by: int, kept: Sequence[int] = (3, 7)) -> nn.Module:
    """The module with a part of the channels, except those of images and logits; its numbers are new."""
    if by == 1:
        return module

    def size(channels: int) -> int:
        return channels if channels in kept else channels // by

    for parent in module.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Conv2d):
                places = {"stride": layer.stride, "padding": layer.padding, "bias": layer.bias is not None}
                groups = layer.groups if layer.groups == 1 else size(layer.groups)
                new: nn.Module = nn.Conv2d(
                    size(layer.in_channels),
                    size(layer.out_channels),
                    layer.kernel_size,
                    groups=groups,
                    **places,
                )
            elif isinstance(layer, nn.BatchNorm2d):
                new = nn.BatchNorm2d(size(layer.num_features), eps=layer.eps, momentum=layer.momentum)
            elif isinstance(layer, nn.Linear):
                new = nn.Linear(size(layer.in_features), size(layer.out_features))
            else:
                continue
            setattr(parent, name, new)
    return module


def short_googlenet(**options: Any) -> nn.Module:
    """GoogLeNet without the blocks 3b, 4b, 4c, 4e and 5a."""
    net = classic("googlenet", **options)
    from torchvision.models.googlenet import Inception

    for name in ("3b", "4b", "4c", "4e", "5a"):
        setattr(net, f"inception{name}", nn.Identity())
    net.inception4a = Inception(256, 192, 96, 208, 16, 48, 64)
    net.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
    net.inception5b = Inception(528, 384, 192, 384, 48, 128, 128)
    return net


def short_inception(**options: Any) -> nn.Module:
    """Inception v3 with one block of each kind."""
    net = classic("inception_v3", **options)
    from torchvision.models.inception import InceptionB, InceptionE

    for name in ("5c", "5d", "6b", "6c", "6d", "7b"):
        setattr(net, f"Mixed_{name}", nn.Identity())
    net.Mixed_6a = InceptionB(256)
    net.Mixed_6e = type(net.Mixed_6e)(736, channels_7x7=192)
    net.Mixed_7c = InceptionE(1280)
    return net


def timm_inception(**options: Any) -> nn.Module:
    """timm's Inception v3 with one block of each kind."""
    net = timm_model("inception_v3", **options)
    conv = partial(type(net.Conv2d_1a_3x3), padding=0, norm_kwargs={"eps": 1e-3})
    for name in ("5c", "5d", "6b", "6c", "6d", "7b"):
        setattr(net, f"Mixed_{name}", nn.Identity())
    net.Mixed_6a = type(net.Mixed_6a)(256, conv_block=conv)
    net.Mixed_6e = type(net.Mixed_6e)(736, channels_7x7=192, conv_block=conv)
    net.Mixed_7c = type(net.Mixed_7c)(1280, conv_block=conv)
    return net


def tensorflow_inception(**options: Any) -> nn.Module:
    """The same with the pooling of TensorFlow's graph, as the Frechet inception distance has it."""
    net = short_inception(aux_logits=False, **options)
    for name in ("5b", "6e", "7c"):
        pooled_as_tensorflow(getattr(net, f"Mixed_{name}"), largest=name == "7c")
    return net


def pooled_as_tensorflow(block: nn.Module, *, largest: bool) -> nn.Module:
    """A block of torchvision's Inception v3 with averages of what is inside, or the largest numbers."""
    from torch.nn import functional as F

    kind, pool = type(block), F.max_pool2d if largest else partial(F.avg_pool2d, count_include_pad=False)

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        with mock.patch("torch.nn.functional.avg_pool2d", pool):
            return kind.forward(self, x)

    block.__class__ = type(f"Pooled{kind.__name__}", (kind,), {"forward": forward})
    return block


class LPIPS(nn.Module):
    """Distances of images by features of torchvision's `name`, those of the layers `taps`."""

    def __init__(self, name: str, taps: dict[int, int], dropout: float = 0.0) -> None:
        super().__init__()
        self.taps = taps
        self.net = nn.Module()
        self.net.features = classic(name).features[: max(taps) + 1]
        for index, channels in enumerate(taps.values()):
            layer = nn.Module()
            layer.model = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(channels, 1, 1, bias=False))
            setattr(self, f"lin{index}", layer)

    def maps(self, x: Tensor) -> list[Tensor]:
        shift, scale = (
            torch.tensor(each, dtype=torch.float32).to(x).view(3, 1, 1)  # buffers there, rounded so
            for each in ([-0.03, -0.088, -0.188], [0.458, 0.448, 0.45])
        )
        x, found = (x - shift) / scale, []
        for index, layer in enumerate(self.net.features):
            x = layer(x)
            if index in self.taps:
                found.append(x.clone())  # the ReLU after a norm writes into it
        return [each / (each.square().sum(1, keepdim=True).sqrt() + 1e-10) for each in found]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        pairs = zip(self.maps(a), self.maps(b), strict=True)
        layers = [getattr(self, f"lin{index}").model for index in range(len(self.taps))]
        return sum(layer((x - y) ** 2).mean((1, 2, 3)) for layer, (x, y) in zip(layers, pairs, strict=True))
