"""Swin transformers: attention in windows of images of any size, shifted in every second block.

Version 1: Liu et al., https://arxiv.org/abs/2103.14030. Version 2, with cosine attention and computed biases:
Liu et al., https://arxiv.org/abs/2111.09883.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import rising, run, torch_kernel
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.options import check_choices
from zoo._nn.patches import pair
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices
from zoo._nn.windows import Window
from zoo.swin.layers import Block, Dense, LayerNorm, PatchMerging, Sizes

HEAD, STEM = ("head",), ("features_0_0",)
inputs = image_inputs


class Stage(NamedTuple):
    """Sizes that the blocks of a stage share."""

    blocks: int
    heads: int
    window: Window
    trained_window: Window


class Swin(nn.Module):
    """Patches, stages of blocks with half the sides of the stage before, and one of HEADS.

    The layers have the indices of torchvision: the patches are `features_0`, the blocks of the first stage
    `features_1`, the layer between it and the second `features_2` ...
    """

    stages: tuple[Stage, ...]
    width: int
    patch_size: int
    num_classes: int
    in_channels: int
    stochastic_depth: float
    out_indices: tuple[int, ...]
    sizes: Sizes
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        patch, dtype = (self.patch_size, self.patch_size), self.dtype
        norm = partial(LayerNorm, self.sizes.epsilon, dtype=dtype)
        embed = nn.Conv(self.width, patch, patch, "VALID", dtype=dtype, kernel_init=torch_kernel)
        # torchvision moves the channels between them.
        features: list[Any] = [[embed, jnp.asarray, norm()]]
        rates = iter(rising(self.stochastic_depth, sum(stage.blocks for stage in self.stages)))
        for index, stage in enumerate(self.stages):
            if index:
                features.append(PatchMerging(self.sizes, self.width * 2 ** (index - 1), dtype))
            features.append([self._block(stage, index, place, next(rates)) for place in range(stage.blocks)])
        self.features = features
        self.norm = norm()
        self.head = Dense(self.num_classes, dtype=dtype)

    def _block(self, stage: Stage, index: int, place: int, rate: float) -> Block:
        down, across = stage.window
        return Block(
            sizes=self.sizes,
            width=self.width * 2**index,
            heads=stage.heads,
            window=stage.window,
            shift=(down // 2, across // 2) if place % 2 else (0, 0),
            trained_window=stage.trained_window,
            stochastic_depth_rate=rate,
            dtype=self.dtype,
        )

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        widths = [self.width * 2**index for index in range(len(self.stages))]
        return levels_of((self.patch_size, 1, *(2 for _ in widths[1:])), (self.width, *widths))

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        Where num_classes is 0: (batch, channels) features, the averages of the last stage. With the head
        "maps": what the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape.
        """
        x = checked_images(x, (None, None, self.in_channels))
        maps = []
        for layers in self.features:
            x = run(layers, x, train=train)
            if not isinstance(layers, PatchMerging):
                maps.append(x)
        if self.out_indices:
            return tuple(maps[index] for index in self.out_indices)
        x = self.norm(x).mean((1, 2))
        return self.head(x) if self.num_classes else x


# variant -> width, blocks, heads: section 3.3 of the first paper; torchvision's rate of stochastic depth
VARIANTS = {
    "t": (96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "s": (96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    "b": (128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
    "l": (192, (2, 2, 18, 2), (6, 12, 24, 48), 0.2),
}
WINDOWS = {1: 7, 2: 8}  # version -> side of a window


def create(
    *,
    variant: str = "t",
    version: int = 1,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    window_size: int | Sequence[int] | None = None,
    trained_window_size: int | Sequence[int] | None = None,
    image_size: int | Sequence[int] | None = None,
    patch_size: int = 4,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    mlp_ratio: float = 4.0,
    key_bias: bool = True,
    epsilon: float = 1e-5,
    stochastic_depth: float | None = None,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    dtype: DTypeLike | None = None,
) -> Swin:
    """Builds a Swin transformer; the defaults are torchvision's swin_t.

    Args:
        variant: Size of the network, one of VARIANTS, which the next three and `stochastic_depth` are from.
        version: 1 or 2.
        width: Number of channels of the first stage; each further one has twice as many.
        blocks: Number of blocks of each stage.
        heads: Number of attention heads of each stage.
        window_size: Side of a window, or height and width, in patches; by default WINDOWS of the version.
        trained_window_size: Side of the windows that version 2 was trained with before, one for all stages or
            one for each; by default those that it has.
        image_size: Side of the images, or height and width, in pixels, whose maps windows are no larger than,
            as in timm; by default they have the same size in all stages, as in torchvision.
        patch_size: Side of a patch, in pixels.
        num_classes: Number of logits; 0 leaves the last layer out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 1, 0 is the patches; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        mlp_ratio: Size of the hidden layer of a block's MLP, in widths of its stage.
        key_bias: If true, version 2 has the bias of keys that it never adds, as torchvision's files.
        epsilon: Epsilon of the layer norms.
        stochastic_depth: Rate at which the last block is left out for an example in training.
        dropout: Rate of attention's output and inside the MLPs.
        attention_dropout: Rate of the attention weights.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such variant, version or head.
    """
    check_choices(variant=(variant, VARIANTS), version=(version, WINDOWS), head=(head, HEADS))
    first, counts, shared, rate = VARIANTS[variant]
    width, blocks, heads = width or first, tuple(blocks or counts), tuple(heads or shared)
    widths = [width * 2**index for index in range(len(blocks))]
    if len(blocks) != len(heads) or any(each % count for each, count in zip(widths, heads, strict=True)):
        raise ZooError(f"blocks={blocks}, heads={heads}: expected as many heads, which share {widths}.")
    windows = _windows(pair(window_size or WINDOWS[version]), image_size, patch_size, len(blocks))
    trained = trained_window_size or 0
    trained = [trained] * len(blocks) if isinstance(trained, int) else trained
    return Swin(
        stages=tuple(
            Stage(
                blocks=number,
                heads=count,
                window=window,
                trained_window=(before, before) if before else window,
            )
            for number, count, window, before in zip(blocks, heads, windows, trained, strict=True)
        ),
        width=width,
        patch_size=patch_size,
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        stochastic_depth=rate if stochastic_depth is None else stochastic_depth,
        out_indices=stage_indices(out_indices, out_features, len(blocks)) if head == "maps" else (),
        sizes=Sizes(
            version=version,
            mlp_ratio=mlp_ratio,
            key_bias=key_bias,
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
        ),
        dtype=dtype,
    )


def _windows(window: Window, image: int | Sequence[int] | None, patch: int, stages: int) -> list[Window]:
    """Returns the windows of each stage: no larger than its map of the image, if that has a size."""
    if image is None:
        return [window] * stages
    (down, across), (height, width) = window, pair(image)
    grids = [(height // patch // 2**index, width // patch // 2**index) for index in range(stages)]
    if not all(grids[-1]):
        raise ZooError(f"image_size={image}: expected {patch * 2 ** (stages - 1)} pixels or more each way.")
    return [(min(down, rows), min(across, columns)) for rows, columns in grids]
