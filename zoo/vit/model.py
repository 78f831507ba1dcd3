"""Vision transformers: images as sequences of patches.

ViT: Dosovitskiy et al., https://arxiv.org/abs/2010.11929. DeiT, whose second token learns from a teacher:
Touvron et al., https://arxiv.org/abs/2012.12877. DINOv2, with layer scale: Oquab et al.,
https://arxiv.org/abs/2304.07193.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import bicubic, check_activation
from zoo._registry.entry import Input
from zoo.vit.layers import INIT, Block, Dense, LayerNorm, Sizes

HEAD, STEM = ("head", "head_dist"), ("patch_embed",)

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "(qkv|fc1)/kernel": (None, "model"),
    "(qkv|fc1)/bias": ("model",),
    "(proj|fc2)/kernel": ("model", None),
}
# How each library resizes position embeddings for images of another size.
RESIZING: dict[str, Callable[[int, int], np.ndarray]] = {
    "timm": partial(bicubic, antialias=True),
    "torchvision": partial(bicubic, align_corners=True),
    "transformers": bicubic,
}


class ViT(nn.Module):
    """Patches, after a class token and with `distilled` a second one, in blocks; heads read these tokens."""

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    in_channels: int
    series: LayerStack
    num_classes: int
    distilled: bool
    representation: int
    maskable: bool
    resizing: str
    sizes: Sizes
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        width, dtype = self.sizes.width, self.dtype
        self.patch_embed = nn.Conv(
            width, self.patch_size, self.patch_size, "VALID", dtype=dtype, kernel_init=INIT
        )
        self.cls_token = self.param("cls_token", INIT, (1, 1, width))
        if self.distilled:
            self.dist_token = self.param("dist_token", INIT, (1, 1, width))
        if self.maskable:
            self.masked_patch = self.param("mask_token", nn.initializers.zeros, (1, width))
        length = math.prod(self.grid) + 1 + self.distilled
        self.pos_embed = self.param("pos_embed", INIT, (1, length, width))
        self.drop = nn.Dropout(self.sizes.dropout)
        self.blocks = self.series.build(partial(Block, self.sizes, dtype))
        self.norm = LayerNorm(self.sizes.epsilon, dtype=dtype)
        self.pre_logits = Dense(self.representation, dtype=dtype)
        self.head = Dense(self.num_classes, dtype=dtype)
        self.head_dist = Dense(self.num_classes, dtype=dtype)

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches an image of `image_size` has, down and across."""
        return self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1]

    def _positions(self, grid: tuple[int, int]) -> jax.Array:
        """(1, tokens, width) embeddings for a grid of patches, resized unless it is the model's own."""
        tokens, patches = jnp.split(self.pos_embed, [1 + self.distilled], axis=1)
        if grid == self.grid:
            return self.pos_embed
        down, across = (jnp.asarray(a, patches.dtype) for a in map(RESIZING[self.resizing], self.grid, grid))
        patches = patches.reshape(*self.grid, -1)
        patches = jnp.einsum("yY,xX,YXc->yxc", down, across, patches, precision="highest")
        return jnp.concatenate([tokens, patches.reshape(1, math.prod(grid), -1)], axis=1)

    def tokens(self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, tokens, width), class token first.

        Images of another size than `image_size` have resized position embeddings.

        Args:
            images: Their sides are multiples of the patch's.
            masked: (batch, patches) of True where the token for masked patches takes the place of one.
            train: Whether to drop.
        """
        _check(images.shape, self.patch_size, self.in_channels)
        x = self.patch_embed(images)
        grid = (x.shape[1], x.shape[2])
        x = x.reshape(len(x), -1, x.shape[-1])
        if masked is not None:
            x = jnp.where(masked[..., None], self.masked_patch.astype(x.dtype), x)
        first = [self.cls_token, self.dist_token] if self.distilled else [self.cls_token]
        first = [jnp.broadcast_to(token, (len(x), 1, x.shape[-1])).astype(x.dtype) for token in first]
        x = jnp.concatenate([*first, x], axis=1) + self._positions(grid).astype(x.dtype)
        x = self.drop(x, deterministic=not train)
        x = self.series.apply(self.blocks, lambda block, x: block(x, train=train), x)
        out: jax.Array = self.norm(x)
        return out

    def __call__(
        self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits; arguments as `tokens`.

        Where num_classes is 0: (batch, width) features, or (batch, representation). With `distilled`, the
        average of what the two tokens give.
        """
        x = self.tokens(images, masked, train=train)
        out = x[:, 0]
        if self.representation:
            out = nn.tanh(self.pre_logits(out))
        if self.num_classes:
            out = self.head(out)
        if self.distilled:
            out = (out + (self.head_dist(x[:, 1]) if self.num_classes else x[:, 1])) / 2
        return out


def _check(shape: tuple[int, ...], patch_size: tuple[int, int], channels: int) -> None:
    if len(shape) != 4 or shape[3] != channels or shape[1] % patch_size[0] or shape[2] % patch_size[1]:
        raise ZooError(
            f"images of shape {shape}; expected (batch, height, width, {channels}), "
            f"height and width multiples of {patch_size[0]} and {patch_size[1]}."
        )


def _pair(sides: int | Sequence[int]) -> tuple[int, int]:
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return height, width


def create(
    *,
    image_size: int | Sequence[int] = 224,
    patch_size: int | Sequence[int] = 16,
    in_channels: int = 3,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int | None = None,
    num_classes: int = 1000,
    distilled: bool = False,
    representation: int | bool = 0,
    maskable: bool = False,
    layer_scale: float = 0.0,
    qkv_bias: bool = True,
    activation: str = "gelu",
    epsilon: float = 1e-6,
    resizing: str = "timm",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    mlp_dropout: float | None = None,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> ViT:
    """Builds a vision transformer; the defaults are timm's vit_base_patch16_224.

    Args:
        image_size: Side of the images, or height and width, that the position embeddings are for.
        patch_size: Likewise.
        in_channels: Of the images.
        width: Of the tokens.
        depth: How many blocks.
        heads: Of each attention; they share the width.
        feed_forward: Width between a block's two dense layers; by default four times the width.
        num_classes: 0 leaves the last layers out.
        distilled: Whether there is a second token and a second head, as in DeiT.
        representation: Width of one more dense layer, with tanh, below the head; True: that of the tokens.
        maskable: Whether there is a token for masked patches.
        layer_scale: First value of the scales after a block's two parts; 0 leaves them out.
        qkv_bias: Whether queries, keys and values have a bias.
        activation: Between a block's two dense layers.
        epsilon: Of the norms.
        resizing: Whose way of resizing position embeddings, one of RESIZING.
        dropout: Rate after the position embeddings and after each part of a block.
        attention_dropout: Rate of the attention's weights.
        mlp_dropout: Rate between a block's two dense layers; by default `dropout`.
        scan: Whether the blocks are one in a loop, whose arrays are stacked: deep models compile sooner.
        remat: Whether gradients compute what is in a block anew instead of keeping it, for less memory.
        dtype: To compute in.

    Raises:
        ZooError: sizes that do not fit each other, or no such activation or resizing.
    """
    image, patch = _pair(image_size), _pair(patch_size)
    for name, value, right, expected in (
        ("image_size", image, not (image[0] % patch[0] or image[1] % patch[1]), f"multiples of {patch}"),
        ("width", width, width % heads == 0, f"a number that {heads} heads can share"),
        ("representation", representation, not (distilled and representation), "0 with two tokens"),
        ("resizing", resizing, resizing in RESIZING, f"one of {', '.join(RESIZING)}"),
    ):
        if not right:
            raise ZooError(f"{name}={value!r}: expected {expected}.")
    inner = 4 * width if feed_forward is None else feed_forward
    rates = (dropout, attention_dropout, dropout if mlp_dropout is None else mlp_dropout)
    sizes = Sizes(width, heads, inner, qkv_bias, layer_scale, check_activation(activation), epsilon, *rates)
    hidden = width if representation is True else int(representation)
    kind = (num_classes, distilled, hidden, maskable, resizing)
    return ViT(image, patch, in_channels, LayerStack(depth, scan, remat), *kind, sizes, dtype)


def inputs(module: ViT, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """The examples with the module's size of images and number of channels."""
    shape = (*module.image_size, module.in_channels)
    return tuple(replace(each, shape=(*each.shape[:1], *shape)) for each in examples)
