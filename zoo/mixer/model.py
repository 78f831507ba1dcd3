"""Image classifiers of dense layers alone.

MLP-Mixer: Tolstikhin et al., https://arxiv.org/abs/2105.01601. ResMLP: Touvron et al.,
https://arxiv.org/abs/2105.03404.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.images import checked_images
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.patches import Sides, checked_sides, patch_map
from zoo._nn.stages import stage_indices
from zoo.mixer.layers import Block, Dense, Sizes

HEADS = ("classification", "none", "maps")
KINDS = ("mixer", "resmlp")


class Mixer(nn.Module):
    """Patches; blocks; the mean of the patches; a classifier."""

    image_size: Sides
    patch_size: Sides
    in_channels: int
    series: LayerStack
    sizes: Sizes
    num_classes: int
    returns_maps: bool
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        patch, dtype = self.patch_size, self.dtype
        self.stem = nn.Conv(self.sizes.width, patch, patch, "VALID", dtype=dtype)
        self.blocks = self.series.build(partial(Block, self.sizes, dtype))
        self.norm = self.sizes.build_norm(dtype)
        self.head = Dense(self.num_classes, dtype=dtype)

    def _run(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, list[jax.Array]]:
        """Returns what leaves the last block, and, for maps, what enters the first and leaves each."""

        def call(block: nn.Module, x: jax.Array, _: None) -> tuple[jax.Array, jax.Array | None]:
            out = block(x, train=train)
            return out, out if self.returns_maps else None

        images = checked_images(images, (*self.image_size, self.in_channels))
        first = self.stem(images).reshape(len(images), -1, self.sizes.width)
        last, states = self.series.scan_with(self.blocks, call, first, None)
        return last, [first, *states] if self.returns_maps else []

    def __call__(self, images: jax.Array, *, train: bool = False) -> Any:
        """(batch, *image_size, in_channels) images -> the output of the head.

        The head "classification" gives (batch, num_classes) logits; (batch, width) features where num_classes
        is 0, as the head "none" does; "maps" the (batch, rows, columns, width) states after each block of
        `out_indices`.

        Raises:
            ZooError: images of another shape; the dense layers over patches are for one number of these.
        """
        last, states = self._run(images, train=train)
        if self.returns_maps:
            chosen = [self.norm(states[index]) for index in self.out_indices]
            return tuple(patch_map(each, jnp.asarray(images), self.patch_size) for each in chosen)
        out = self.norm(last).mean(1)
        return self.head(out) if self.num_classes else out


def create(
    *,
    kind: str = "mixer",
    image_size: int | Sequence[int] = 224,
    patch_size: int | Sequence[int] = 16,
    in_channels: int = 3,
    width: int = 768,
    depth: int = 12,
    token_mlp: int | None = None,
    feed_forward: int | None = None,
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    layer_scale: float = 1e-4,
    activation: str = "gelu",
    epsilon: float = 1e-6,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Mixer:
    """Builds an MLP-Mixer or a ResMLP; the defaults are Mixer-B/16.

    Args:
        kind: One of KINDS: "mixer", whose blocks have an MLP over the patches, or "resmlp", a dense layer and
            no norms.
        image_size: Side of the images, or height and width, in pixels; the model takes no others.
        patch_size: Side of a patch, or height and width, in pixels.
        in_channels: Number of channels of the images.
        width: Size of a patch's embedding.
        depth: Number of blocks.
        token_mlp: Size of the hidden layer of "mixer" over the patches; by default half the width.
        feed_forward: Size of the hidden layer over the channels; by default 4 * width.
        num_classes: Number of logits; 0 leaves the head out.
        head: One of HEADS: "classification" gives logits, "none" features, "maps" the states of patches after
            several blocks.
        out_indices: Blocks whose outputs are the maps, counted from 1, 0 is what enters the first one; by
            default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        layer_scale: Initial value of the factors of "resmlp" before its residual connections.
        activation: Name of the activation between two dense layers.
        epsilon: Epsilon of the norms of "mixer".
        dropout: Rate after each dense layer of the MLPs.
        stochastic_depth: Rate at which each block's branches are left out for an example, in training.
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such activation, head or kind.
    """
    check_choices(kind=(kind, KINDS), head=(head, HEADS))
    image, patch = checked_sides(image_size, patch_size)
    check_options(
        ("token_mlp", token_mlp, token_mlp is None or kind == "mixer", 'None without kind="mixer"'),
        ("layer_scale", layer_scale, layer_scale or kind == "mixer", 'above 0 with kind="resmlp"'),
    )
    return Mixer(
        image_size=image,
        patch_size=patch,
        in_channels=in_channels,
        series=LayerStack(depth, scan=scan, remat=remat),
        sizes=Sizes(
            kind=kind,
            tokens=math.prod(image) // math.prod(patch),
            width=width,
            token_mlp=token_mlp or width // 2,
            feed_forward=feed_forward or 4 * width,
            layer_scale=layer_scale if kind == "resmlp" else 0.0,
            activation=check_activation(activation),
            epsilon=epsilon,
            dropout=dropout,
            stochastic_depth=stochastic_depth,
        ),
        num_classes=num_classes if head == "classification" else 0,
        returns_maps=head == "maps",
        out_indices=stage_indices(out_indices, out_features, depth) if head == "maps" else (),
        dtype=dtype,
    )
