"""Convolutional networks made as transformers are, for images of 32 pixels and more.

ConvNeXt: Liu et al., https://arxiv.org/abs/2201.03545. Its second version, with global response norms:
Woo et al., https://arxiv.org/abs/2301.00808.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import rising, run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._nn.options import check_choices
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices
from zoo.convnext.layers import STEMS, Block, Settings

HEAD, STEM = ("classifier_2",), ("features_0_0",)
inputs = image_inputs


class ConvNeXt(nn.Module):
    """A stem, stages of blocks with a halving of the sides between them, and one of HEADS."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    num_classes: int
    in_channels: int
    stem: str
    hidden: int
    layer_scale: float
    response_norm: bool
    activation: str
    epsilon: float
    stochastic_depth: float
    dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = Settings(
            layer_scale=self.layer_scale,
            response_norm=self.response_norm,
            activation=self.activation,
            epsilon=self.epsilon,
            dtype=self.dtype,
        )
        rates = iter(rising(self.stochastic_depth, sum(self.blocks)))
        features = []
        for index, (count, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            halving = [settings.norm(), settings.conv(width, 2)] if index else []
            features.append(halving or settings.stem(self.stem, width))
            features.append([Block(width, next(rates), settings) for _ in range(count)])
        self.features = features
        self.pre_logits = settings.dense(self.hidden)
        self.classifier = [settings.norm(), nn.Dropout(self.dropout), settings.dense(self.num_classes)]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        strides = (4, 1, *(2 for _ in self.widths[1:]))
        return levels_of(strides, (self.widths[0], *self.widths))

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, normalized averages of the last stage, or of the
        `hidden` layer. With the head "maps": what the stages in `out_indices` give, each (batch, rows,
        columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        smallest = self.levels[-1].reduction
        x = checked_images(x, (None, None, self.in_channels), smallest=smallest)
        maps = []
        for index, layers in enumerate(self.features):
            x = run(layers, x, train=train)
            maps += [x] if index % 2 or not index else []
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        x = self.classifier[0](x.mean((1, 2)))
        x = ACTIVATIONS["gelu"](self.pre_logits(x)) if self.hidden else x
        return run(self.classifier[1:], x, train=train) if self.num_classes else x


# variant -> blocks of each stage, channels of the first one, and torchvision's rate of stochastic depth:
# section 3 of the first paper, table 9 of the second
VARIANTS = {
    "atto": ((2, 2, 6, 2), 40, 0.0),
    "femto": ((2, 2, 6, 2), 48, 0.0),
    "pico": ((2, 2, 6, 2), 64, 0.0),
    "nano": ((2, 2, 8, 2), 80, 0.0),
    "tiny": ((3, 3, 9, 3), 96, 0.1),
    "small": ((3, 3, 27, 3), 96, 0.4),
    "base": ((3, 3, 27, 3), 128, 0.5),
    "large": ((3, 3, 27, 3), 192, 0.5),
    "xlarge": ((3, 3, 27, 3), 256, 0.0),
    "huge": ((3, 3, 27, 3), 352, 0.0),
    "xxlarge": ((3, 4, 30, 3), 384, 0.0),
}


def create(
    *,
    variant: str = "tiny",
    blocks: Sequence[int] | None = None,
    widths: Sequence[int] | None = None,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    stem: str = "patch",
    hidden: int = 0,
    layer_scale: float = 1e-6,
    response_norm: bool = False,
    activation: str = "gelu",
    epsilon: float = 1e-6,
    stochastic_depth: float | None = None,
    dropout: float = 0.0,
    dtype: DTypeLike | None = None,
) -> ConvNeXt:
    """Builds a ConvNeXt; the defaults are torchvision's convnext_tiny.

    Args:
        variant: Size of the network, one of VARIANTS.
        blocks: Number of blocks of each stage; by default those of the variant.
        widths: Number of channels of each stage; by default twice as many as in the one before.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the stem; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        stem: First convolution, one of STEMS: of patches, or two that overlap, the first of as many or, with
            "overlap_tiered", of half the channels.
        hidden: Size of a dense layer with GELU before the head; 0 leaves it out.
        layer_scale: Initial value of the factors before each residual connection; 0 leaves them out.
        response_norm: If true, blocks have a global response norm, as the second version.
        activation: Name of the activation between a block's two dense layers.
        epsilon: Epsilon of the layer norms.
        stochastic_depth: Rate at which the last block is left out for an example, in training; it rises from
            0 for the first. By default torchvision's of the variant, 0 where it has none.
        dropout: Rate before the last layer.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head, stem, stage or activation, or widths for other stages.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS), stem=(stem, STEMS))
    usual, first, rate = VARIANTS[variant]
    counts = tuple(blocks or usual)
    channels = tuple(widths or (first * 2**index for index in range(len(counts))))
    if len(counts) != len(channels):
        raise ZooError(f"widths={channels}: expected {len(counts)} of them, one for each stage.")
    return ConvNeXt(
        blocks=counts,
        widths=channels,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        stem=stem,
        hidden=hidden,
        layer_scale=layer_scale,
        response_norm=response_norm,
        activation=check_activation(activation),
        epsilon=epsilon,
        stochastic_depth=rate if stochastic_depth is None else stochastic_depth,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, len(counts)) if head == "maps" else (),
        dtype=dtype,
    )
