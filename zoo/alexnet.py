"""AlexNet for images of at least 63 x 63 pixels.

Krizhevsky, https://arxiv.org/abs/1404.5997: the network in one column, without response normalization.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import run, torch_kernel
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.options import check_choices
from zoo._nn.pooling import adaptive_avg_pool, flatten_channels_first, max_pool
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, pooled_maps, stage_indices

HEAD, STEM = ("classifier_6",), ("features_0",)
TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"classifier\.6\..*": "the head"}
inputs = image_inputs

_SIDE = 63  # pixels that leave one after the last pooling


class AlexNet(nn.Module):
    """Five convolutions, some with pooling, and three dense layers."""

    widths: tuple[int, ...]
    hidden: int
    num_classes: int
    in_channels: int
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        conv = partial(nn.Conv, kernel_init=torch_kernel, dtype=self.dtype)
        dense = partial(nn.Dense, kernel_init=torch_kernel, dtype=self.dtype)
        pool = partial(max_pool, size=3, stride=2)
        first, second, third, fourth, fifth = self.widths
        # Functions have their place, so that the layers have their PyTorch numbers.
        self.features = [
            *(conv(first, (11, 11), strides=4, padding=2), nn.relu, pool),
            *(conv(second, (5, 5), padding=2), nn.relu, pool),
            *(conv(third, (3, 3), padding=1), nn.relu),
            *(conv(fourth, (3, 3), padding=1), nn.relu),
            *(conv(fifth, (3, 3), padding=1), nn.relu, pool),
        ]
        self.classifier = [
            *(nn.Dropout(self.dropout), dense(self.hidden), nn.relu),
            *(nn.Dropout(self.dropout), dense(self.hidden), nn.relu),
            dense(self.num_classes),
        ]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        first, second, _, _, last = self.widths
        return levels_of((4, 2, 2, 2), (first, second, last, last))

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits, or (batch, hidden) if 0.

        With the head "maps": those in `out_indices`, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape, or too small.
        """
        x = checked_images(x, (None, None, self.in_channels), smallest=_SIDE)
        if self.out_indices:
            first = self.is_initializing()
            return pooled_maps(self.features, x, self.out_indices, train=train, whole=first)
        x = flatten_channels_first(adaptive_avg_pool(run(self.features, x, train=train), 6, 6))
        x = run(self.classifier[:-1], x, train=train)
        return run(self.classifier[-1], x, train=train) if self.num_classes else x


def create(
    *,
    widths: Sequence[int] = (64, 192, 384, 256, 256),
    hidden: int = 4096,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dropout: float = 0.5,
    dtype: DTypeLike | None = None,
) -> AlexNet:
    """Builds an AlexNet; the defaults are torchvision's.

    Args:
        widths: Numbers of channels that the five convolutions give.
        hidden: Size of the two dense layers before the last.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Maps, counted from 0: before each pooling, and behind the last one; by default that.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dropout: Rate of dropout before each of the first two dense layers.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: another number of convolutions, no such head or map.
    """
    check_choices(head=(head, HEADS))
    if len(widths) != 5:
        raise ZooError(f"widths={tuple(widths)}: expected five numbers, one for each convolution.")
    return AlexNet(
        widths=tuple(widths),
        hidden=hidden,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, 3) if head == "maps" else (),
        dtype=dtype,
    )
