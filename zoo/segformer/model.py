"""SegFormer: a transformer whose stages halve the map, and a light head that labels pixels.

Xie et al., https://arxiv.org/abs/2105.15203. The attributes have the names of transformers' modules.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import mul

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import rising
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices
from zoo.segformer.layers import DecodeHead, Dense, Encoder, Options, StageSizes

HEAD, STEM = ("decode_head/classifier", "classifier"), ("segformer/stages_0/patch_embeddings/proj",)
TASKS = {"segmentation": "image-segmentation", "classification": "image-classification"}
HEADS = (*TASKS, "none")
CLASSIFYING = ("segmentation", "classification")
# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "([qkv]_proj|fc1)/kernel": (None, "model"),
    "([qkv]_proj|fc1|dwconv)/bias": ("model",),
    "dwconv/kernel": (None, None, None, "model"),
    "(o_proj|fc2)/kernel": ("model", None),
}
inputs = image_inputs


class SegFormer(nn.Module):
    """The encoder, and one of HEADS."""

    stage_sizes: tuple[StageSizes, ...]
    options: Options
    drop_paths: tuple[tuple[float, ...], ...]
    in_channels: int
    head: str
    num_classes: int
    decoder_width: int
    classifier_dropout: float
    remat: bool
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.segformer = Encoder(
            stage_sizes=self.stage_sizes,
            options=self.options._replace(dtype=self.dtype),
            drop_paths=self.drop_paths,
            remat=self.remat,
        )
        self.decode_head = DecodeHead(
            stages=len(self.stage_sizes),
            width=self.decoder_width,
            num_classes=self.num_classes,
            dropout=self.classifier_dropout,
            dtype=self.dtype,
        )
        self.classifier = Dense(self.num_classes, dtype=self.dtype)

    @property
    def smallest(self) -> int:
        """Least height and width of images, in pixels: a map that attention reads has one place then."""
        strides: Iterator[int] = accumulate((each.stride for each in self.stage_sizes), mul)
        return max(each.reduction * stride for each, stride in zip(self.stage_sizes, strides, strict=True))

    def __call__(self, pixel_values: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> the output of the head.

        "segmentation" gives the (batch, height / 4, width / 4, num_classes) logits of places, as
        transformers: resize them to the image's size before taking the largest. "classification" gives
        (batch, num_classes) logits, "none" the last stage's (batch, height / 32, width / 32, width) map.

        Raises:
            ZooError: images of another shape.
        """
        shape = (None, None, self.in_channels)
        x = checked_images(pixel_values, shape, smallest=self.smallest, name="pixel_values")
        maps = self.segformer(x, train=train)
        if self.head == "segmentation":
            logits: jax.Array = self.decode_head(maps, train=train)
            return logits
        out: jax.Array = self.classifier(maps[-1].mean((1, 2))) if self.head == "classification" else maps[-1]
        return out


def create(
    *,
    head: str = "segmentation",
    num_classes: int = 150,
    in_channels: int = 3,
    widths: Sequence[int] = (32, 64, 160, 256),
    blocks: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (1, 2, 5, 8),
    reductions: Sequence[int] = (8, 4, 2, 1),
    patch_sizes: Sequence[int] = (7, 3, 3, 3),
    strides: Sequence[int] = (4, 2, 2, 2),
    mlp_ratios: Sequence[float] = (4, 4, 4, 4),
    decoder_width: int = 256,
    activation: str = "gelu",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    classifier_dropout: float = 0.1,
    drop_path: float = 0.1,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> SegFormer:
    """Builds a SegFormer; the defaults are B0 for the classes of ADE20K.

    Args:
        head: One of HEADS: "segmentation" gives logits of places, "classification" of images, "none" the last
            stage's map.
        num_classes: Number of logits.
        in_channels: Number of channels of the images.
        widths: Size of the vectors of each stage.
        blocks: Number of blocks of each stage.
        heads: Number of attention heads of each stage; divides its width.
        reductions: Factor by which the map that a stage's attention reads is smaller, in each direction.
        patch_sizes: Side of the patches of each stage, in places of the map before it.
        strides: Step between them.
        mlp_ratios: Size of the hidden layer between a block's dense layers, in parts of the stage's width.
        decoder_width: Size of the vectors in the head "segmentation".
        activation: Name of the activation between a block's dense layers.
        dropout: Rate before each residual connection, and between a block's dense layers.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifier of places.
        drop_path: Rate of stochastic depth of the last block; it rises from 0.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such head or activation.
    """
    lists = (widths, heads, reductions, patch_sizes, strides, mlp_ratios)
    check_choices(head=(head, HEADS))
    if {len(each) for each in lists} != {len(blocks)}:
        raise ZooError(
            f"blocks={[*blocks]} has {len(blocks)} stages; expected as many widths, heads, reductions, "
            "patch_sizes, strides and mlp_ratios."
        )
    for width, count in zip(widths, heads, strict=True):
        if width % count:
            raise ZooError(f"heads={[*heads]}: {count} heads do not divide a width of {width}.")
    rates = rising(drop_path, sum(blocks))
    ends = [*accumulate(blocks)]
    sizes = [
        StageSizes(
            width=width,
            heads=count,
            reduction=reduction,
            patch_size=patch,
            stride=stride,
            feed_forward=math.floor(width * ratio),
        )
        for width, count, reduction, patch, stride, ratio in zip(*lists, strict=True)
    ]
    return SegFormer(
        stage_sizes=tuple(sizes),
        options=Options(
            activation=check_activation(activation),
            dropout=dropout,
            attention_dropout=attention_dropout,
            dtype=None,
        ),
        drop_paths=tuple(tuple(rates[end - count : end]) for end, count in zip(ends, blocks, strict=True)),
        in_channels=in_channels,
        head=head,
        num_classes=num_classes if head in CLASSIFYING else 0,
        decoder_width=decoder_width,
        classifier_dropout=classifier_dropout,
        remat=remat,
        dtype=dtype,
    )
