"""Segmentation: a class for each pixel of images of any size.

FCN: Long et al., https://arxiv.org/abs/1411.4038. DeepLab v3: Chen et al., https://arxiv.org/abs/1706.05587.
LR-ASPP: Howard et al., https://arxiv.org/abs/1905.02244.
The backbone's last stages keep height and width, and dilate their kernels instead.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo import mobilenet, resnet
from zoo._errors import ZooError
from zoo._nn.convolutions import run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import bilinear
from zoo._nn.options import check_choices
from zoo._nn.outputs import TrainingLogits
from zoo._nn.stages import Level
from zoo.segmentation.layers import LiteDecoder, deeplab_head, fcn_head

# LR-ASPP's layers are one module.
HEAD = ("classifier_4", "aux_classifier_4", "classifier")
# torchvision takes the features out of a MobileNet.
TORCH_NAMES = {"torchvision": ((r"^backbone\.features\.", "backbone."),)}
IGNORED = {r"aux_classifier\..*": "the auxiliary head, which only aux_logits=True has"}
REPLACED_HEAD = {r"(aux_)?classifier\.(4|cbr|scale|low_classifier|high_classifier)\..*": "the head"}
TASKS = dict.fromkeys(("fcn", "deeplab", "lraspp"), "image-segmentation")
HEADS = tuple(TASKS)
inputs = image_inputs


# name -> keywords of its `create`
BACKBONES: dict[str, dict[str, Any]] = {
    "resnet50": {"depth": 50, "dilated_stages": 2},
    "resnet101": {"depth": 101, "dilated_stages": 2},
    "mobilenet_v3_large": {"variant": "v3_large", "dilated": True},
}


class Segmenter(nn.Module):
    """A backbone, a head for its last map, and, for training, one for an earlier map.

    With `out_indices` it gives maps of the backbone, which these count.
    """

    network: resnet.ResNet | mobilenet.MobileNet  # what the backbone is, but for its dtype and outputs
    head: str
    num_classes: int
    in_channels: int
    aux_logits: bool
    dropout: float
    aux_dropout: float
    out_indices: tuple[int, ...] = ()
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        indices = self.out_indices or self.network.out_indices
        # As a copy it computes in the dtype that the segmenter is cloned with.
        self.backbone = self.network.clone(parent=None, name=None, out_indices=indices, dtype=self.dtype)
        earlier, last = self.widths
        if self.head == "lraspp":
            self.classifier: Any = LiteDecoder(self.num_classes, self.dtype)
        elif self.head == "fcn":
            self.classifier = fcn_head(last, self.num_classes, dropout=self.dropout, dtype=self.dtype)
        else:
            self.classifier = deeplab_head(self.num_classes, dropout=self.dropout, dtype=self.dtype)
        self.aux_classifier = fcn_head(earlier, self.num_classes, dropout=self.aux_dropout, dtype=self.dtype)

    @property
    def layers(self) -> tuple[int, int]:
        """Indices of a MobileNet's layers whose maps are used: of an eighth, after a stride, and the last."""
        strided = [place for place, shape in enumerate(self.network.shapes, 1) if shape.stride > 1]
        places = [0, *strided, len(self.network.shapes) + 1]
        return places[-4], places[-1]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        return self.network.levels

    @property
    def widths(self) -> tuple[int, int]:
        """Numbers of channels of both maps."""
        if isinstance(self.network, resnet.ResNet):
            return self.network.widths[-2], self.network.widths[-1]
        return self.network.shapes[self.layers[0] - 1].outputs, self.network.last_channels

    def maps(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Returns the backbone's maps: an earlier one, and the last."""
        if isinstance(self.network, resnet.ResNet):
            earlier, last = self.backbone(x, train=train)
        else:
            earlier, last = self.backbone.layer_maps(x, self.layers, train=train)
        return earlier, last

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, height, width, num_classes) logits.

        In training with `aux_logits`: TrainingLogits, with the auxiliary head's.

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        if self.out_indices:
            return self.backbone(x, train=train)
        sides = (x.shape[1], x.shape[2])
        earlier, last = self.maps(x, train=train)
        if self.head == "lraspp":
            logits = self.classifier(earlier, last, train=train)
        else:
            logits = run(self.classifier, last, train=train)
        logits = bilinear(logits, sides)
        # At first even without training, so that the head has its parameters.
        if not self.aux_logits or not (train or self.is_initializing()):
            return logits
        auxiliary = bilinear(run(self.aux_classifier, earlier, train=train), sides)
        return TrainingLogits(logits, (auxiliary,)) if train else logits


def create(
    *,
    head: str = "fcn",
    backbone: str = "resnet50",
    backbone_config: Mapping[str, Any] | None = None,
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
        backbone_config: Further keywords of the backbone's `create`.
        num_classes: Number of logits of each pixel.
        in_channels: Number of channels of the images.
        aux_logits: If true, an auxiliary head gives logits in training, too; it is of no use otherwise.
        dropout: Rate of dropout in the head; by default 0.1, and 0.5 in DeepLab's, as torchvision's.
        aux_dropout: Rate of dropout in the auxiliary head.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head or backbone, no classes, or a head that does not fit the backbone, or
            a backbone with too few strides.
    """
    check_choices(head=(head, HEADS), backbone=(backbone, BACKBONES))
    if num_classes < 1:
        raise ZooError(f"num_classes={num_classes}: expected 1 or more.")
    config = {**BACKBONES[backbone], **(backbone_config or {}), "in_channels": in_channels, "dtype": dtype}
    mobile = backbone.startswith("mobilenet")
    if head == "lraspp" and (aux_logits or dropout or not mobile):
        raise ZooError(
            "head='lraspp': expected backbone='mobilenet_v3_large', and neither aux_logits nor dropout."
        )
    network: resnet.ResNet | mobilenet.MobileNet
    if mobile:
        network = mobilenet.create(**config, head="none")
        if sum(shape.stride > 1 for shape in network.shapes) < 2:
            raise ZooError("backbone_config: expected blocks of which two or more have a stride above 1.")
    else:
        network = resnet.create(**config, head="maps", out_indices=(-2, -1))
    return Segmenter(
        network=network,
        head=head,
        num_classes=num_classes,
        in_channels=in_channels,
        aux_logits=aux_logits,
        dropout=(0.1 if head == "fcn" else 0.5) if dropout is None else dropout,
        aux_dropout=aux_dropout,
        dtype=dtype,
    )
