"""Segmentation: a class for each pixel of images of any size.

FCN: Long et al., https://arxiv.org/abs/1411.4038. DeepLab v3: Chen et al., https://arxiv.org/abs/1706.05587.
The backbone's last stages keep height and width, and dilate their kernels instead.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo import resnet
from zoo._errors import ZooError
from zoo._nn.convolutions import run
from zoo._nn.images import checked_images
from zoo._nn.layers import bilinear
from zoo._nn.outputs import TrainingLogits
from zoo._registry.entry import Input
from zoo.segmentation.layers import deeplab_head, fcn_head

HEAD = ("classifier_4", "aux_classifier_4")
TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"(aux_)?classifier\.4\..*": "the head"}
TASKS = {"fcn": "image-segmentation", "deeplab": "image-segmentation"}
HEADS = tuple(TASKS)


BACKBONES = {"resnet50": 50, "resnet101": 101}  # name -> depth of zoo.resnet


class Segmenter(nn.Module):
    """A backbone, a head for its last map, and, for training, one for an earlier map."""

    backbone: nn.Module
    earlier: int
    head: str
    num_classes: int
    in_channels: int
    aux_logits: bool
    dropout: float
    aux_dropout: float
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        if self.head == "fcn":
            self.classifier = fcn_head(2 * self.earlier, self.num_classes, self.dropout, self.dtype)
        else:
            self.classifier = deeplab_head(self.num_classes, self.dropout, self.dtype)
        self.aux_classifier = fcn_head(self.earlier, self.num_classes, self.aux_dropout, self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, height, width, num_classes) logits.

        In training with `aux_logits`: TrainingLogits, with the auxiliary head's.

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        sides = (x.shape[1], x.shape[2])
        earlier, last = self.backbone(x, train=train)
        logits = bilinear(run(self.classifier, last, train=train), sides)
        # At first even without training, so that the head has its parameters.
        if not self.aux_logits or not (train or self.is_initializing()):
            return logits
        auxiliary = bilinear(run(self.aux_classifier, earlier, train=train), sides)
        return TrainingLogits(logits, (auxiliary,)) if train else logits


def create(
    *,
    head: str = "fcn",
    backbone: str = "resnet50",
    blocks: Sequence[int] | None = None,
    channels: int = 64,
    num_classes: int = 21,
    in_channels: int = 3,
    aux_logits: bool = False,
    dropout: float | None = None,
    aux_dropout: float = 0.1,
    dtype: DTypeLike | None = None,
) -> Segmenter:
    """Builds a segmenter; the defaults are torchvision's fcn_resnet50.

    Args:
        head: Layers behind the backbone, one of HEADS.
        backbone: Network whose maps are segmented, one of BACKBONES.
        blocks: Number of blocks of each of the backbone's stages; by default the usual ones.
        channels: Number of channels of its stem.
        num_classes: Number of logits of each pixel.
        in_channels: Number of channels of the images.
        aux_logits: If true, an auxiliary head gives logits in training, too; it is of no use otherwise.
        dropout: Rate of dropout in the head; by default 0.1, and 0.5 in DeepLab's, as torchvision's.
        aux_dropout: Rate of dropout in the auxiliary head.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head or backbone, or no classes.
    """
    for name, value, choices in (("head", head, HEADS), ("backbone", backbone, BACKBONES)):
        if value not in choices:
            raise ZooError(f"no {name} {value!r}; choose one of {', '.join(choices)}.")
    if num_classes < 1:
        raise ZooError(f"num_classes={num_classes}: expected 1 or more.")
    return Segmenter(
        backbone=resnet.create(
            depth=BACKBONES[backbone],
            blocks=blocks,
            channels=channels,
            in_channels=in_channels,
            head="maps",
            out_indices=(3, 4),
            dilated_stages=2,
            dtype=dtype,
        ),
        earlier=16 * channels,
        head=head,
        num_classes=num_classes,
        in_channels=in_channels,
        aux_logits=aux_logits,
        dropout=(0.1 if head == "fcn" else 0.5) if dropout is None else dropout,
        aux_dropout=aux_dropout,
        dtype=dtype,
    )


def inputs(module: Segmenter, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs with the module's number of channels."""
    return tuple(replace(each, shape=(*each.shape[:-1], module.in_channels)) for each in examples)
