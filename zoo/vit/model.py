"""Vision transformers: images as sequences of patches.

ViT: Dosovitskiy et al., https://arxiv.org/abs/2010.11929. DeiT, whose second token learns from a teacher:
Touvron et al., https://arxiv.org/abs/2012.12877. DINOv2, with layer scale: Oquab et al.,
https://arxiv.org/abs/2304.07193. Registers: Darcet et al., https://arxiv.org/abs/2309.16588.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.images import checked_images
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import bicubic, check_activation, pixel_shuffle
from zoo._nn.stages import stage_indices
from zoo._registry.entry import Input
from zoo.vit.layers import INIT, Block, Dense, LayerNorm, Sizes

HEAD, STEM = ("head", "head_dist"), ("patch_embed",)
CLASSIFIER, CLASSIFYING = {"head": "classification"}, ("classification",)
HEADLESS = {"pooler": (r"(.*\.)?pooler\..*", "none")}
HEADS = ("classification", "none", "pooler", "maps", "masked_images")
POOLING = ("token", "both", "concat")

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
    """Patches behind a class token, with `distilled` two, and registers; blocks; one of HEADS."""

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    in_channels: int
    series: LayerStack
    num_classes: int
    distilled: bool
    registers: int
    representation: int
    maskable: bool
    resizing: str
    head_kind: str
    pooling: str
    out_indices: tuple[int, ...]
    decoder_stride: int
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
        if self.registers:
            self.reg_token = self.param("reg_token", nn.initializers.normal(1e-6), (1, self.registers, width))
        if self.maskable:
            # In files of DINOv2 it has two axes, in those of masked image modeling three.
            shape = (1, 1, width) if self.head_kind == "masked_images" else (1, width)
            self.masked_patch = self.param("mask_token", nn.initializers.zeros, shape)
        length = math.prod(self.grid) + 1 + self.distilled
        self.pos_embed = self.param("pos_embed", INIT, (1, length, width))
        self.drop = nn.Dropout(self.sizes.dropout)
        self.blocks = self.series.build(partial(Block, self.sizes, dtype))
        self.norm = LayerNorm(self.sizes.epsilon, dtype=dtype)
        self.pre_logits = Dense(self.representation, dtype=dtype)
        self.head = Dense(self.num_classes, dtype=dtype)
        self.head_dist = Dense(self.num_classes, dtype=dtype)
        pixels = self.decoder_stride**2 * self.in_channels
        self.decoder = [nn.Conv(pixels, (1, 1), dtype=dtype, kernel_init=INIT)]

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

    def _embedded(self, images: jax.Array, masked: jax.Array | None, *, train: bool) -> jax.Array:
        """Returns the (batch, tokens, width) input of the first block."""
        down, across = self.patch_size
        images = checked_images(
            images,
            (None, None, self.in_channels),
            example=self.image_size,
            fits=lambda height, width: height % down == 0 and width % across == 0,
            rule=f", or sides that patches of {down} x {across} divide",
        )
        x = self.patch_embed(images)
        batch, grid = x.shape[0], (x.shape[1], x.shape[2])
        x = x.reshape(batch, -1, x.shape[-1])
        if masked is not None:
            x = jnp.where(masked[..., None], self.masked_patch.astype(x.dtype), x)
        first = [self.cls_token, self.dist_token] if self.distilled else [self.cls_token]
        first = [jnp.broadcast_to(token, (batch, 1, x.shape[-1])).astype(x.dtype) for token in first]
        x = jnp.concatenate([*first, x], axis=1) + self._positions(grid).astype(x.dtype)
        if self.registers:  # which have no place
            own = jnp.broadcast_to(self.reg_token, (batch, *self.reg_token.shape[1:])).astype(x.dtype)
            at = len(first)
            x = jnp.concatenate([x[:, :at], own, x[:, at:]], axis=1)
        dropped: jax.Array = self.drop(x, deterministic=not train)
        return dropped

    def tokens(self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, tokens, width), class token first.

        For images of another size than `image_size`, the position embeddings are resized.

        Args:
            images: Batch whose sides are multiples of the patch's.
            masked: (batch, patches), True where the mask token replaces a patch.
            train: Whether to apply dropout, by the RNG stream "dropout".

        Raises:
            ZooError: images of another shape.
        """
        x = self._embedded(images, masked, train=train)
        x = self.series.apply(self.blocks, lambda block, x: block(x, train=train), x)
        out: jax.Array = self.norm(x)
        return out

    def maps(
        self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False
    ) -> tuple[jax.Array, ...]:
        """Returns the (batch, rows, columns, width) states of patches after each block of `out_indices`."""

        def call(block: nn.Module, x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            out = block(x, train=train)
            return out, out

        first = self._embedded(images, masked, train=train)
        _, states = self.series.scan_with(self.blocks, call, first, None)
        chosen = [states[index - 1] if index else first for index in self.out_indices]
        return tuple(self._map(self.norm(state), images) for state in chosen)

    def _map(self, tokens: jax.Array, images: jax.Array) -> jax.Array:
        """(batch, tokens, width) -> (batch, rows, columns, width), without those that are no patches."""
        rows, columns = images.shape[1] // self.patch_size[0], images.shape[2] // self.patch_size[1]
        return tokens[:, -rows * columns :].reshape(tokens.shape[0], rows, columns, -1)

    def __call__(self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> the output of the head; arguments as `tokens`.

        The head "classification" gives (batch, num_classes) logits; (batch, width) features, or (batch,
        representation), where num_classes is 0, as the head "none" does. "maps" gives what `maps` does, and
        "masked_images" the images, (batch, height, width, in_channels).
        """
        if self.head_kind == "maps":
            return self.maps(images, masked, train=train)
        x = self.tokens(images, masked, train=train)
        if self.head_kind == "masked_images":
            return pixel_shuffle(self.decoder[0](self._map(x, images)), self.decoder_stride)
        out = x[:, 0]
        if self.pooling == "concat":
            patches = x[:, 1 + self.distilled + self.registers :]
            out = jnp.concatenate([out, patches.mean(1)], axis=-1)
        if self.representation:
            out = nn.tanh(self.pre_logits(out))
        if self.num_classes:
            out = self.head(out)
        if self.pooling == "both":
            out = (out + (self.head_dist(x[:, 1]) if self.num_classes else x[:, 1])) / 2
        return out


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
    head: str = "classification",
    pooling: str | None = None,
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    encoder_stride: int = 16,
    distilled: bool = False,
    registers: int = 0,
    representation: int | bool = 0,
    maskable: bool = False,
    layer_scale: float = 0.0,
    swiglu: bool = False,
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
        feed_forward: Size of the hidden layer between a block's two dense layers; by default 4 * width, or,
            with `swiglu`, two thirds of that, rounded up to a multiple of 8.
        num_classes: Number of logits; 0 leaves the heads out.
        head: One of HEADS: "classification" gives logits, "none" features, "pooler" these through a dense
            layer with tanh, "maps" those of patches after several blocks, "masked_images" the images whose
            patches were masked.
        pooling: Input of the classifier, one of POOLING: the class token; "both", this and that of DeiT,
            whose logits are averaged; or "concat", the class token beside the mean of the patches. By default
            "both" with `distilled`.
        out_indices: Blocks whose outputs are the maps, counted from 1, 0 is what enters the first one; by
            default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        encoder_stride: Side of the square that "masked_images" makes of a patch, in pixels.
        distilled: Whether to add a second token and a second head, as in DeiT.
        registers: Number of tokens behind the class token that no head reads.
        representation: Size of a dense layer with tanh before the head; True takes `width`, 0 none.
        maskable: Whether to have a token for masked patches.
        layer_scale: Initial value of the scales after attention and MLP; 0 leaves them out.
        swiglu: If true, blocks have gated dense layers (SwiGLU), as the largest DINOv2.
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
        ZooError: sizes that do not fit each other, or no such activation, head, pooling or resizing.
    """
    image, patch = _pair(image_size), _pair(patch_size)
    pooling = pooling or ("both" if distilled else "token")
    if head == "pooler":
        representation = representation or True
    for name, value, right, expected in (
        ("image_size", image, not (image[0] % patch[0] or image[1] % patch[1]), f"multiples of {patch}"),
        ("width", width, width % heads == 0, f"a number that {heads} heads can share"),
        ("representation", representation, not (pooling == "both" and representation), "0 with two tokens"),
        ("head", head, head in HEADS, f"one of {', '.join(HEADS)}"),
        ("pooling", pooling, pooling in POOLING, f"one of {', '.join(POOLING)}"),
        ("pooling", pooling, pooling != "both" or distilled, "another one without distilled=True"),
        ("resizing", resizing, resizing in RESIZING, f"one of {', '.join(RESIZING)}"),
    ):
        if not right:
            raise ZooError(f"{name}={value!r}: expected {expected}.")
    return ViT(
        image_size=image,
        patch_size=patch,
        in_channels=in_channels,
        series=LayerStack(depth, scan=scan, remat=remat),
        num_classes=num_classes if head == "classification" else 0,
        distilled=distilled,
        registers=registers,
        representation=width if representation is True else int(representation),
        maskable=maskable,
        resizing=resizing,
        head_kind=head if head in ("maps", "masked_images") else "classification",
        pooling=pooling,
        out_indices=stage_indices(out_indices, out_features, depth) if head == "maps" else (),
        decoder_stride=encoder_stride if head == "masked_images" else 1,
        sizes=Sizes(
            width=width,
            heads=heads,
            feed_forward=feed_forward or (-(-int(8 * width / 3) // 8) * 8 if swiglu else 4 * width),
            qkv_bias=qkv_bias,
            layer_scale=layer_scale,
            activation=check_activation(activation),
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
            mlp_dropout=dropout if mlp_dropout is None else mlp_dropout,
            swiglu=swiglu,
        ),
        dtype=dtype,
    )


def inputs(module: ViT, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs with the module's size of images and number of channels."""
    shape = (*module.image_size, module.in_channels)
    return tuple(replace(each, shape=(*each.shape[:1], *shape)) for each in examples)
