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
    """Patches behind a class token, with `distilled` two, through blocks; the heads read these tokens."""

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
        """Number of patches in an image of `image_size`, down and across."""
        return self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1]

    def _positions(self, grid: tuple[int, int]) -> jax.Array:
        """Returns (1, tokens, width) embeddings for a grid of patches, resized if it is not the model's."""
        tokens, patches = jnp.split(self.pos_embed, [1 + self.distilled], axis=1)
        if grid == self.grid:
            return self.pos_embed
        down, across = (jnp.asarray(a, patches.dtype) for a in map(RESIZING[self.resizing], self.grid, grid))
        patches = patches.reshape(*self.grid, -1)
        patches = jnp.einsum("yY,xX,YXc->yxc", down, across, patches, precision="highest")
        return jnp.concatenate([tokens, patches.reshape(1, math.prod(grid), -1)], axis=1)

    def tokens(self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, tokens, width), class token first.

        For images of another size than `image_size`, the position embeddings are resized.

        Args:
            images: Batch whose sides are multiples of the patch's.
            masked: (batch, patches), True where the mask token replaces a patch.
            train: Whether to apply dropout, by the RNG stream "dropout".
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
        average over the two tokens.
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
        image_size: Side of the images, or height and width, in pixels; sets the position embeddings.
        patch_size: Side of a patch, or height and width, in pixels.
        in_channels: Number of channels of the images.
        width: Size of the embeddings and hidden states.
        depth: Number of blocks.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a block's two dense layers; by default 4 * width.
        num_classes: Number of logits; 0 leaves the heads out.
        distilled: Whether to add a second token and a second head, as in DeiT.
        representation: Size of a dense layer with tanh before the head; True takes `width`, 0 none.
        maskable: Whether to have a token for masked patches.
        layer_scale: Initial value of the scales after attention and MLP; 0 leaves them out.
        qkv_bias: Whether to add a bias to queries, keys and values.
        activation: Name of the activation between a block's two dense layers.
        epsilon: Epsilon of the layer norms.
        resizing: Library whose resizing of position embeddings is used, one of RESIZING.
        dropout: Rate after the position embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        mlp_dropout: Rate between a block's two dense layers; by default `dropout`.
        scan: Whether to run the blocks in a loop over stacked arrays: deep models compile sooner.
        remat: Whether to recompute a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

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
    return ViT(
        image_size=image,
        patch_size=patch,
        in_channels=in_channels,
        series=LayerStack(depth, scan=scan, remat=remat),
        num_classes=num_classes,
        distilled=distilled,
        representation=width if representation is True else int(representation),
        maskable=maskable,
        resizing=resizing,
        sizes=Sizes(
            width=width,
            heads=heads,
            feed_forward=4 * width if feed_forward is None else feed_forward,
            qkv_bias=qkv_bias,
            layer_scale=layer_scale,
            activation=check_activation(activation),
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
            mlp_dropout=dropout if mlp_dropout is None else mlp_dropout,
        ),
        dtype=dtype,
    )


def inputs(module: ViT, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs with the module's size of images and number of channels."""
    shape = (*module.image_size, module.in_channels)
    return tuple(replace(each, shape=(*each.shape[:1], *shape)) for each in examples)
