"""VGG networks for images of at least 32 x 32 pixels.

Simonyan and Zisserman, https://arxiv.org/abs/1409.1556, table 1: configurations A, B, D and E; batch norm
is torchvision's addition.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from converters import Reshape
from zoo._errors import ZooError
from zoo._nn.convolutions import conv, run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import BatchNorm
from zoo._nn.options import check_choices
from zoo._nn.pooling import adaptive_avg_pool, flatten_channels_first, max_pool
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, pooled_maps, stage_indices

HEAD, STEM = ("classifier_6",), ("features_0",)
TORCH_NAMES = {
    "torchvision": (),  # every layer has its torchvision name
    "timm": (  # whose dense layers are convolutions
        (r"^classifier\.0\.", "pre_logits.fc1."),
        (r"^classifier\.3\.", "pre_logits.fc2."),
        (r"^classifier\.6\.", "head.fc."),
        Reshape("pre_logits.fc1.weight", (0, -1, 7, 7)),
        Reshape("pre_logits.fc2.weight", (0, 0, 1, 1)),
    ),
}
REPLACED_HEAD = {r"(classifier\.6|head\.fc)\..*": "the head"}
inputs = image_inputs

DEPTHS = {  # layers with weights -> convolutions of each stage: table 1
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each with half the sides, and three dense layers."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    batch_norm: bool
    hidden: int
    num_classes: int
    in_channels: int
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        # Functions have their place, so that the layers have their PyTorch numbers.
        features: list[Any] = []
        for count, width in zip(self.blocks, self.widths, strict=True):
            for _ in range(count):
                features.append(conv(width, 3, bias=True, dtype=self.dtype))
                features += [BatchNorm(dtype=self.dtype), nn.relu] if self.batch_norm else [nn.relu]
            features.append(partial(max_pool, size=2, stride=2))
        self.features = features
        dense = partial(nn.Dense, kernel_init=nn.initializers.normal(0.01), dtype=self.dtype)
        self.classifier = [
            *(dense(self.hidden), nn.relu, nn.Dropout(self.dropout)),
            *(dense(self.hidden), nn.relu, nn.Dropout(self.dropout)),
            dense(self.num_classes),
        ]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        return levels_of((1, *(2 for _ in self.widths)), (*self.widths, self.widths[-1]))

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits, or (batch, hidden) if 0.

        With the head "maps": those in `out_indices`, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape, or too small.
        """
        x = checked_images(x, (None, None, self.in_channels), smallest=2 ** len(self.blocks))
        if self.out_indices:
            first = self.is_initializing()
            return pooled_maps(self.features, x, self.out_indices, train=train, whole=first)
        x = flatten_channels_first(adaptive_avg_pool(run(self.features, x, train=train), 7, 7))
        x = run(self.classifier[:-1], x, train=train)
        return run(self.classifier[-1], x, train=train) if self.num_classes else x


def create(
    *,
    depth: int = 16,
    blocks: Sequence[int] | None = None,
    widths: Sequence[int] = (64, 128, 256, 512, 512),
    batch_norm: bool = False,
    hidden: int = 4096,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dropout: float = 0.5,
    dtype: DTypeLike | None = None,
) -> VGG:
    """Builds a VGG network; the defaults are torchvision's vgg16.

    Args:
        depth: Number of layers with weights, one of DEPTHS.
        blocks: Number of convolutions of each stage; by default those of the depth.
        widths: Number of channels of each stage.
        batch_norm: If true, a batch norm follows each convolution.
        hidden: Size of the two dense layers before the last.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Maps, counted from 0: before each pooling, and behind the last one; by default that.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dropout: Rate of dropout after each of the first two dense layers.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such depth, head or map, or widths for other stages.
    """
    check_choices(depth=(depth, DEPTHS), head=(head, HEADS))
    blocks, widths = tuple(blocks or DEPTHS[depth]), tuple(widths)
    if len(blocks) != len(widths):
        raise ZooError(f"widths={widths}: expected {len(blocks)} numbers, one for each stage.")
    return VGG(
        blocks=blocks,
        widths=widths,
        batch_norm=batch_norm,
        hidden=hidden,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, len(blocks)) if head == "maps" else (),
        dtype=dtype,
    )
