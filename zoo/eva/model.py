"""Vision transformers whose attention knows places: by rotations, or by biases.

BEiT: Bao et al., https://arxiv.org/abs/2106.08254. EVA-02: Fang et al., https://arxiv.org/abs/2303.11331.
DINOv3: Siméoni et al., https://arxiv.org/abs/2508.10104.
RoPE-ViT: Heo et al., https://arxiv.org/abs/2403.13298. Perception Encoder: Bolya et al.,
https://arxiv.org/abs/2504.13181. Sapiens2: https://arxiv.org/abs/2604.21681. BEiT-3: Wang et al.,
https://arxiv.org/abs/2208.10442. AIMv2: Fini et al., https://arxiv.org/abs/2411.14402.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from zoo._nn.attention_pool import AttentionPool
from zoo._nn.convolutions import rising
from zoo._nn.layer_stack import LayerStack
from zoo._nn.patches import Sides, checked_patches, patch_map, resized
from zoo.eva.layers import INIT, Block, Dense, Places, Sizes
from zoo.eva.relative import RelativeBias
from zoo.eva.rotary import MixedFrequencies, Rotary

POOL_HEADS = 8  # of the Perception Encoder's pooling, whatever the blocks have


class Eva(nn.Module):
    """Patches behind a class token, or none, and registers; blocks whose attention knows places; a head."""

    image_size: Sides
    patch_size: Sides
    in_channels: int
    series: LayerStack
    sizes: Sizes
    key_value_heads: tuple[int, ...]
    stochastic_depth: float
    rotary: Rotary | None
    num_classes: int
    class_token: bool
    registers: int
    positions: bool
    class_position: bool
    shared_relative: bool
    patch_norm: bool
    pre_norm: bool
    final_norm: bool
    norm_after_pooling: bool
    maskable: bool
    pooling: str
    returns_maps: bool
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        sizes, width, dtype = self.sizes, self.sizes.width, self.dtype
        self.patch_embed = nn.Conv(
            features=width,
            kernel_size=self.patch_size,
            strides=self.patch_size,
            padding="VALID",
            use_bias=not self.pre_norm,
            dtype=dtype,
            kernel_init=INIT,
        )
        self.patch_embed_norm = sizes.build_norm(dtype)
        if self.class_token:
            self.cls_token = self.param("cls_token", INIT, (1, 1, width))
        if self.registers:
            self.reg_token = self.param("reg_token", INIT, (1, self.registers, width))
        if self.maskable:
            self.masked_patch = self.param("mask_token", nn.initializers.zeros, (1, 1, width))
        if self.positions:
            self.pos_embed = self.param("pos_embed", INIT, (1, math.prod(self.grid) + self.placed, width))
        if self.rotary and self.rotary.kind == "mixed":
            self.rope = MixedFrequencies(self.series.depth, sizes.heads, sizes.head_dim, self.rotary)
        if self.shared_relative:
            self.relative = RelativeBias(self.grid, sizes.heads, sizes.resizing)
        self.drop = nn.Dropout(sizes.dropout)
        self.norm_pre = sizes.build_norm(dtype)
        each = iter(zip(self.key_value_heads, rising(self.stochastic_depth, self.series.depth), strict=True))
        self.blocks = self.series.build(lambda: Block(sizes, *next(each), dtype))
        self.norm = sizes.build_norm(dtype)
        self.attn_pool = AttentionPool(
            width=width,
            heads=POOL_HEADS,
            feed_forward=4 * width,
            activation="gelu",
            epsilon=sizes.epsilon,
            dtype=dtype,
        )
        self.fc_norm = sizes.build_norm(dtype)
        self.head = Dense(self.num_classes, dtype=dtype)

    @property
    def grid(self) -> Sides:
        """Number of patches in an image of `image_size`, down and across."""
        return self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1]

    @property
    def others(self) -> int:
        """Number of tokens before the patches."""
        return self.class_token + self.registers

    @property
    def placed(self) -> int:
        """Number of them that have a position embedding."""
        return self.others if self.class_position else 0

    def _embedded(
        self, images: jax.Array, masked: jax.Array | None, grid: Sides, *, train: bool
    ) -> jax.Array:
        """Returns the (batch, tokens, width) input of the first block."""
        x = self.patch_embed(images)
        batch, _, _, width = x.shape
        x = x.reshape(batch, -1, width)
        x = self.patch_embed_norm(x) if self.patch_norm else x
        if masked is not None:
            x = jnp.where(masked[..., None], self.masked_patch.astype(x.dtype), x)
        before = [self.cls_token] if self.class_token else []
        before += [self.reg_token] if self.registers else []
        tokens = [jnp.broadcast_to(each, (batch, *each.shape[1:])).astype(x.dtype) for each in before]
        x = jnp.concatenate([*tokens, x], axis=1)
        if self.positions:
            places = resized(
                self.pos_embed, self.grid, grid, resizing=self.sizes.resizing, before=self.placed
            )
            x = x.at[:, self.others - self.placed :].add(places.astype(x.dtype))
        x = self.drop(x, deterministic=not train)
        embedded: jax.Array = self.norm_pre(x) if self.pre_norm else x
        return embedded

    def _angles(self, grid: Sides, *, train: bool) -> ArrayLike | None:
        """Returns the angles of patches as `rotate` takes them; with "mixed", those of each block."""
        if not self.rotary:
            return None
        angles: Any
        if self.rotary.kind == "mixed":
            angles = self.rope(grid)
        else:
            angles = self.rotary.angles(grid, self.sizes.head_dim)
        if train and self.rotary.rescale != 1:
            limit = math.log(self.rotary.rescale)
            factor = jnp.exp(jax.random.uniform(self.make_rng("dropout"), minval=-limit, maxval=limit))
            angles = angles * factor
        rotation: ArrayLike = angles
        return rotation

    def _run(
        self, images: jax.Array, masked: jax.Array | None, *, keep: bool, train: bool
    ) -> tuple[jax.Array, list[Any]]:
        """Returns what leaves the last block; with `keep`, also what enters the first and leaves each."""
        images = checked_patches(
            images, self.in_channels, image_size=self.image_size, patch_size=self.patch_size
        )
        grid = (images.shape[1] // self.patch_size[0], images.shape[2] // self.patch_size[1])
        angles: Any = self._angles(grid, train=train)
        own: Any = None  # angles of each block
        if self.rotary and self.rotary.kind == "mixed":
            own = angles if self.series.scan else [*angles]

        def call(block: nn.Module, x: jax.Array, each: Any) -> tuple[jax.Array, Any]:
            out = block(x, places if own is None else places._replace(angles=each), train=train)
            return out, out if keep else None

        shared = self.relative(grid) if self.shared_relative else None
        places = Places(grid, None if own is not None else angles, shared)
        first = self._embedded(images, masked, grid, train=train)
        last, states = self.series.scan_with(self.blocks, call, first, own)
        return last, [first, *states] if keep else []

    def tokens(self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, tokens, width), class token first.

        Places of patches are computed for images of another size than `image_size`, or, if they are learned,
        resized.

        Args:
            images: Batch whose sides are multiples of the patch's.
            masked: (batch, patches), True where the mask token replaces a patch; with `maskable` alone.
            train: If true, drops numbers and rescales the others, by the RNG stream "dropout".

        Raises:
            ZooError: images of another shape.
        """
        return self._normed(self._run(images, masked, keep=False, train=train)[0])

    def _normed(self, x: jax.Array) -> jax.Array:
        """Applies the last norm, unless there is none or it comes after pooling."""
        out: jax.Array = self.norm(x) if self.final_norm and not self.norm_after_pooling else x
        return out

    def maps(
        self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False
    ) -> tuple[jax.Array, ...]:
        """Returns the (batch, rows, columns, width) states of patches after each block of `out_indices`."""
        _, states = self._run(images, masked, keep=True, train=train)
        chosen = [states[index] for index in self.out_indices]
        return tuple(patch_map(self._normed(state), images, self.patch_size) for state in chosen)

    def __call__(self, images: jax.Array, masked: jax.Array | None = None, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> the output of the head; arguments as `tokens`.

        The head "classification" gives (batch, num_classes) logits, or (batch, width) features where
        num_classes is 0, as the head "none" does. "maps" gives what `maps` does.
        """
        if self.returns_maps:
            return self.maps(images, masked, train=train)
        x = self.tokens(images, masked, train=train)
        if self.pooling == "attention":
            x = self.attn_pool(x)
        else:
            x = x[:, 0] if self.pooling == "token" else x[:, self.others :].mean(1)
        x = self.fc_norm(x) if self.norm_after_pooling else x
        return self.head(x) if self.num_classes else x
