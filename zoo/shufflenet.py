"""ShuffleNets V2 for images of any size.

Ma et al., https://arxiv.org/abs/1807.11164.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import conv, run, torch_kernel
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import BatchNorm
from zoo._nn.options import check_choices
from zoo._nn.pooling import max_pool
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices

HEAD, STEM = ("fc",), ("conv1_0",)
TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
REPLACED_HEAD = {r"fc\..*": "the head"}
inputs = image_inputs

WIDTHS = {  # width -> channels of the first convolution, the three stages and the last convolution: table 5
    0.5: (24, 48, 96, 192, 1024),
    1.0: (24, 116, 232, 464, 1024),
    1.5: (24, 176, 352, 704, 1024),
    2.0: (24, 244, 488, 976, 2048),
}


def shuffled(x: jax.Array, groups: int) -> jax.Array:
    """Mixes the channels of groups: the first of each, then the second of each, and so on."""
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


class Block(nn.Module):
    """Two branches side by side, shuffled; with a stride of 1, the first is half of the input as it is."""

    in_channels: int
    channels: int
    stride: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        half = self.channels // 2
        # Functions have their place, so that the layers have their PyTorch numbers.
        self.branch1 = [*self._depthwise(self.in_channels), *self._pointwise(half)] if self.stride > 1 else []
        self.branch2 = [*self._pointwise(half), *self._depthwise(half), *self._pointwise(half)]

    def _pointwise(self, channels: int) -> list[Any]:
        return [
            conv(channels, 1, init=torch_kernel, dtype=self.dtype),
            BatchNorm(dtype=self.dtype),
            nn.relu,
        ]

    def _depthwise(self, channels: int) -> list[Any]:
        return [
            conv(channels, 3, self.stride, groups=channels, init=torch_kernel, dtype=self.dtype),
            BatchNorm(dtype=self.dtype),
        ]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) -> (batch, height / stride, width / stride, channels)."""
        first, second = (x, x) if self.stride > 1 else jnp.split(x, 2, axis=-1)
        branches = [run(self.branch1, first, train=train), run(self.branch2, second, train=train)]
        return shuffled(jnp.concatenate(branches, axis=-1), 2)


class ShuffleNet(nn.Module):
    """A convolution, stages of blocks from `stage2` on, each with half the sides, and a 1x1 convolution."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    num_classes: int
    in_channels: int
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        unit = partial(conv, init=torch_kernel, dtype=self.dtype)
        before, *widths, last = self.widths
        self.conv1 = [unit(before, 3, 2), BatchNorm(dtype=self.dtype), nn.relu]
        for stage, (count, width) in enumerate(zip(self.blocks, widths, strict=True), start=2):
            setattr(
                self,
                f"stage{stage}",
                [
                    Block(
                        in_channels=width if index else before,
                        channels=width,
                        stride=1 if index else 2,
                        dtype=self.dtype,
                    )
                    for index in range(count)
                ],
            )
            before = width
        self.conv5 = [unit(last, 1), BatchNorm(dtype=self.dtype), nn.relu]
        self.fc = nn.Dense(self.num_classes, kernel_init=torch_kernel, dtype=self.dtype)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        return levels_of((4, *(2 for _ in self.blocks)), self.widths[:-1])

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the averages of the last convolution. With the
        head "maps": what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        x = max_pool(run(self.conv1, x, train=train), 3, 2, padding=1)
        maps = [x]
        for stage in range(len(self.blocks)):
            maps.append(run(getattr(self, f"stage{stage + 2}"), maps[-1], train=train))
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        x = run(self.conv5, maps[-1], train=train).mean((1, 2))
        return self.fc(x) if self.num_classes else x


def create(
    *,
    width: float = 1.0,
    blocks: Sequence[int] = (4, 8, 4),
    widths: Sequence[int] | None = None,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    dtype: DTypeLike | None = None,
) -> ShuffleNet:
    """Builds a ShuffleNet; the defaults are torchvision's shufflenet_v2_x1_0.

    Args:
        width: Factor of the number of channels, one of WIDTHS.
        blocks: Number of blocks of each stage.
        widths: Number of channels of the first convolution, of each stage and of the last convolution; by
            default those of the width.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such width, head or stage, or widths for other stages or odd ones.
    """
    check_choices(width=(width, WIDTHS), head=(head, HEADS))
    blocks, widths = tuple(blocks), tuple(widths or WIDTHS[width])
    if len(widths) != len(blocks) + 2 or any(channels % 2 for channels in widths[1:-1]):
        raise ZooError(
            f"widths={widths}: expected {len(blocks) + 2} numbers, even ones for the stages, between those "
            "of the first and the last convolution."
        )
    return ShuffleNet(
        blocks=blocks,
        widths=widths,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        out_indices=stage_indices(out_indices, out_features, len(blocks)) if head == "maps" else (),
        dtype=dtype,
    )
