"""Vision transformers: images as sequences of patches.

ViT: Dosovitskiy et al., https://arxiv.org/abs/2010.11929. DeiT, whose second token learns from a teacher:
Touvron et al., https://arxiv.org/abs/2012.12877. DINOv2, with layer scale: Oquab et al.,
https://arxiv.org/abs/2304.07193. Registers: Darcet et al., https://arxiv.org/abs/2309.16588.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention_pool import AttentionPool
from zoo._nn.convolutions import rising
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import pixel_shuffle
from zoo._nn.patches import Sides, checked_patches, patch_map, resized
from zoo.vit.layers import INIT, Block, Dense, LayerNorm, Sizes


class ViT(nn.Module):
    """Patches behind a class token, with `distilled` two, or none, and registers; blocks; one of HEADS."""

    image_size: Sides
    patch_size: Sides
    in_channels: int
    series: LayerStack
    num_classes: int
    class_token: bool
    class_position: bool
    distilled: bool
    registers: int
    pre_norm: bool
    final_norm: bool
    norm_after_pooling: bool
    representation: int
    maskable: bool
    resizing: str
    head_kind: str
    pooling: str
    out_indices: tuple[int, ...]
    decoder_stride: int
    sizes: Sizes
    stochastic_depth: float
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        width, dtype = self.sizes.width, self.dtype
        self.patch_embed = nn.Conv(
            width,
            self.patch_size,
            self.patch_size,
            "VALID",
            use_bias=not self.pre_norm,
            dtype=dtype,
            kernel_init=INIT,
        )
        if self.class_token:
            self.cls_token = self.param("cls_token", INIT, (1, 1, width))
        if self.distilled:
            self.dist_token = self.param("dist_token", INIT, (1, 1, width))
        if self.registers:
            self.reg_token = self.param("reg_token", nn.initializers.normal(1e-6), (1, self.registers, width))
        if self.maskable:
            # In files of DINOv2 it has two axes, in those of masked image modeling three.
            shape = (1, 1, width) if self.head_kind == "masked_images" else (1, width)
            self.masked_patch = self.param("mask_token", nn.initializers.zeros, shape)
        length = math.prod(self.grid) + self.placed
        self.pos_embed = self.param("pos_embed", INIT, (1, length, width))
        self.drop = nn.Dropout(self.sizes.dropout)
        self.norm_pre = LayerNorm(self.sizes.epsilon, dtype=dtype)
        rates = iter(rising(self.stochastic_depth, self.series.depth))
        self.blocks = self.series.build(lambda: Block(self.sizes, next(rates), dtype))
        self.norm = LayerNorm(self.sizes.epsilon, dtype=dtype)
        self.attn_pool = AttentionPool(
            width=width,
            heads=self.sizes.heads,
            feed_forward=self.sizes.feed_forward,
            activation=self.sizes.activation,
            epsilon=self.sizes.epsilon,
            dtype=dtype,
        )
        self.fc_norm = LayerNorm(self.sizes.epsilon, dtype=dtype)
        self.pre_logits = Dense(self.representation, dtype=dtype)
        self.head = Dense(self.num_classes, dtype=dtype)
        self.head_dist = Dense(self.num_classes, dtype=dtype)
        pixels = self.decoder_stride**2 * self.in_channels
        self.decoder = [nn.Conv(pixels, (1, 1), dtype=dtype, kernel_init=INIT)]

    @property
    def grid(self) -> Sides:
        """Number of patches in an image of `image_size`, down and across."""
        return self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1]

    @property
    def others(self) -> int:
        """Number of tokens before the patches."""
        return self.class_token + self.distilled + self.registers

    @property
    def placed(self) -> int:
        """Number of them that have a position embedding."""
        return self.class_token + self.distilled if self.class_position else 0

    def _positions(self, grid: Sides) -> jax.Array:
        """Returns (1, tokens, width) embeddings for a grid of patches, resized if it is not the model's."""
        return resized(self.pos_embed, self.grid, grid, resizing=self.resizing, before=self.placed)

    def _embedded(self, images: jax.Array, masked: jax.Array | None, *, train: bool) -> jax.Array:
        """Returns the (batch, tokens, width) input of the first block."""
        images = checked_patches(
            images, self.in_channels, image_size=self.image_size, patch_size=self.patch_size
        )
        x = self.patch_embed(images)
        batch, grid = x.shape[0], (x.shape[1], x.shape[2])
        x = x.reshape(batch, -1, x.shape[-1])
        if masked is not None:
            x = jnp.where(masked[..., None], self.masked_patch.astype(x.dtype), x)
        places, of_patches = jnp.split(self._positions(grid).astype(x.dtype), [self.placed], axis=1)
        x = jnp.concatenate([*self._others(places, batch), x + of_patches], axis=1)
        x = self.drop(x, deterministic=not train)
        embedded: jax.Array = self.norm_pre(x) if self.pre_norm else x
        return embedded

    def _others(self, places: jax.Array, batch: int) -> list[jax.Array]:
        """Returns the (batch, 1 or more, width) tokens before the patches; registers have no place."""
        learned = [self.cls_token] if self.class_token else []
        learned += [self.dist_token] if self.distilled else []
        if self.placed:
            learned = [jnp.concatenate(learned, axis=1).astype(places.dtype) + places]
        learned += [self.reg_token] if self.registers else []
        return [jnp.broadcast_to(token, (batch, *token.shape[1:])).astype(places.dtype) for token in learned]

    def tokens(self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, tokens, width), class token first.

        For images of another size than `image_size`, the position embeddings are resized.

        Args:
            images: Batch whose sides are multiples of the patch's.
            masked: (batch, patches), True where the mask token replaces a patch.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: images of another shape.
        """
        x = self._embedded(images, masked, train=train)
        x = self.series.apply(self.blocks, lambda block, x: block(x, train=train), x)
        return self._normed(x)

    def _normed(self, x: jax.Array) -> jax.Array:
        """Applies the last norm, unless there is none or it comes after pooling."""
        out: jax.Array = self.norm(x) if self.final_norm and not self.norm_after_pooling else x
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
        return tuple(patch_map(self._normed(state), images, self.patch_size) for state in chosen)

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
            return pixel_shuffle(self.decoder[0](patch_map(x, images, self.patch_size)), self.decoder_stride)
        out = self._pooled(x)
        if self.norm_after_pooling and self.final_norm:
            out = self.fc_norm(out)
        if self.representation:
            out = nn.tanh(self.pre_logits(out))
        if self.num_classes:
            out = self.head(out)
        if self.pooling == "both":
            out = (out + (self.head_dist(x[:, 1]) if self.num_classes else x[:, 1])) / 2
        return out

    def _pooled(self, x: jax.Array) -> jax.Array:
        """(batch, tokens, width) -> (batch, width), twice as many with the pooling "concat"."""
        patches = x[:, self.others :]
        if self.pooling == "average":
            return patches.mean(1)
        if self.pooling == "attention":
            pooled: jax.Array = self.attn_pool(patches)
            return pooled
        return jnp.concatenate([x[:, 0], patches.mean(1)], axis=-1) if self.pooling == "concat" else x[:, 0]
