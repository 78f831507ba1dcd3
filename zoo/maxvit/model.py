"""MaxViT: convolutions, then attention inside windows and across a grid, for images that these divide.

Tu et al., https://arxiv.org/abs/2204.01697.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import rising, run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.options import check_choices
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices
from zoo.maxvit.layers import Block, Sizes

TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
IGNORED = {r"(.*\.)?relative_position_index": "the indices of relative places, which the windows' size tells"}
HEAD, STEM = ("classifier_5",), ("stem_0_0",)
REPLACED_HEAD = {r"classifier\.5\..*": "the head"}
inputs = image_inputs


class MaxViT(nn.Module):
    """A stem with half the sides, stages `blocks_0`, `blocks_1`, ..., and one of HEADS."""

    sizes: Sizes
    stem_channels: int
    widths: tuple[int, ...]
    rates: tuple[tuple[float, ...], ...]
    num_classes: int
    in_channels: int
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        sizes, stem = self.sizes._replace(dtype=self.dtype), self.stem_channels
        self.stem = [sizes.units.unit(stem, 3, 2), [sizes.conv(stem, 3)]]
        inputs = (stem, *self.widths)
        self.blocks = [
            Block(sizes=sizes, inputs=before, channels=width, rates=rates)
            for before, width, rates in zip(inputs, self.widths, self.rates, strict=False)
        ]
        self.classifier = [
            lambda x: x.mean((1, 2)),
            jnp.asarray,  # torchvision flattens
            sizes.norm(),
            sizes.dense(self.widths[-1]),
            nn.tanh,
            sizes.dense(self.num_classes, use_bias=False),
        ]

    def fits(self, height: int, width: int) -> bool:
        """Returns whether windows divide the maps of all stages of such an image."""
        strides = [2 ** (index + 2) for index in range(len(self.widths))]
        return all(
            -(-side // by) % self.sizes.partition_size == 0 for side in (height, width) for by in strides
        )

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        return levels_of([2] * (1 + len(self.widths)), (self.stem_channels, *self.widths))

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, what the last layer sees. With the head "maps":
        what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        side = self.sizes.partition_size * 2 ** (len(self.widths) + 1)
        x = checked_images(
            x,
            (None, None, self.in_channels),
            example=(side, side),
            fits=self.fits,
            rule=f", or sides whose halves, quarters ... windows of {self.sizes.partition_size} divide",
        )
        x = run(self.stem, x, train=train)
        maps = [x]
        for block in self.blocks:
            x = block(x, train=train)
            maps.append(x)
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        return run(self.classifier if self.num_classes else self.classifier[:-1], x, train=train)


# variant -> channels of the stem, channels and number of blocks of each stage: table 1 of the paper; and
# torchvision's rate of stochastic depth
VARIANTS = {"t": (64, (64, 128, 256, 512), (2, 2, 5, 2), 0.2)}


def create(
    *,
    variant: str = "t",
    stem_channels: int | None = None,
    widths: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    partition_size: int = 7,
    head_dim: int = 32,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    expansion_ratio: float = 4.0,
    squeeze_ratio: float = 0.25,
    mlp_ratio: int = 4,
    stochastic_depth: float | None = None,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    dtype: DTypeLike | None = None,
) -> MaxViT:
    """Builds a MaxViT; the defaults are torchvision's maxvit_t.

    Args:
        variant: Size of the network, one of VARIANTS, which the next three and `stochastic_depth` are from.
        stem_channels: Number of channels of the stem.
        widths: Number of channels of each stage.
        blocks: Number of blocks of each stage.
        partition_size: Side of a window, and of a grid, in pixels of a stage's map.
        head_dim: Number of channels of an attention head; divides the widths.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        expansion_ratio: Channels inside a convolutional block, for each of its outputs.
        squeeze_ratio: Channels of its squeeze-and-excite, for each of its outputs.
        mlp_ratio: Size of the hidden layer of an MLP, in widths of its stage.
        stochastic_depth: Rate at which the last layer's branches are left out for an example in training.
        dropout: Rate of the MLPs' output.
        attention_dropout: Rate of attention's output.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such variant or head.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    stem, channels, counts, rate = VARIANTS[variant]
    widths, blocks = tuple(widths or channels), tuple(blocks or counts)
    if len(widths) != len(blocks) or any(width % head_dim for width in widths):
        raise ZooError(
            f"widths={widths}, blocks={blocks}: expected as many multiples of head_dim={head_dim}."
        )
    rates = iter(rising(rate if stochastic_depth is None else stochastic_depth, sum(blocks)))
    return MaxViT(
        sizes=Sizes(
            partition_size=partition_size,
            head_dim=head_dim,
            expansion_ratio=expansion_ratio,
            squeeze_ratio=squeeze_ratio,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            attention_dropout=attention_dropout,
        ),
        stem_channels=stem_channels or stem,
        widths=widths,
        rates=tuple(tuple(next(rates) for _ in range(count)) for count in blocks),
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        out_indices=stage_indices(out_indices, out_features, len(widths)) if head == "maps" else (),
        dtype=dtype,
    )
