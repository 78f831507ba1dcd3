"""Vision transformers: images as sequences of patches.

ViT: Dosovitskiy et al., https://arxiv.org/abs/2010.11929. DeiT, whose second token learns from a teacher:
Touvron et al., https://arxiv.org/abs/2012.12877. DINOv2, with layer scale: Oquab et al.,
https://arxiv.org/abs/2304.07193. Registers: Darcet et al., https://arxiv.org/abs/2309.16588.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention_pool import AttentionPool
from zoo._nn.convolutions import rising
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation, pixel_shuffle
from zoo._nn.patches import RESIZING, Sides, checked_patches, pair, patch_map, resized
from zoo._nn.stages import stage_indices
from zoo.vit.layers import INIT, Block, Dense, LayerNorm, Sizes

HEAD, STEM = ("head", "head_dist"), ("patch_embed",)
CLASSIFIER, CLASSIFYING = {"head": "classification"}, ("classification",)
HEADLESS = {"pooler": (r"(.*\.)?pooler\..*", "none")}
HEADS = ("classification", "none", "pooler", "maps", "masked_images")
_UNCLASSED = ("average", "attention")  # pooling that needs no class token
POOLING = ("token", "both", "concat", *_UNCLASSED)

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "(qkv|fc1)/kernel": (None, "model"),
    "(qkv|fc1)/bias": ("model",),
    "(proj|fc2)/kernel": ("model", None),
}


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
        tokens, patches = jnp.split(self.pos_embed, [self.placed], axis=1)
        return jnp.concatenate([tokens, resized(patches, self.grid, grid, self.resizing)], axis=1)

    def _embedded(self, images: jax.Array, masked: jax.Array | None, *, train: bool) -> jax.Array:
        """Returns the (batch, tokens, width) input of the first block."""
        sides = {"image_size": self.image_size, "patch_size": self.patch_size}
        images = checked_patches(images, self.in_channels, **sides)
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
            train: Whether to apply dropout, by the RNG stream "dropout".

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
    class_token: bool = True,
    class_position: bool = True,
    distilled: bool = False,
    registers: int = 0,
    pre_norm: bool = False,
    final_norm: bool = True,
    fc_norm: bool | None = None,
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
    stochastic_depth: float = 0.0,
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
            whose logits are averaged; "concat", the class token beside the mean of the patches; "average",
            that mean alone; or "attention", what a learned query attends to among them. By default "both"
            with `distilled`.
        out_indices: Blocks whose outputs are the maps, counted from 1, 0 is what enters the first one; by
            default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        encoder_stride: Side of the square that "masked_images" makes of a patch, in pixels.
        class_token: Whether there is a class token.
        class_position: Whether it has a position embedding.
        distilled: Whether to add a second token and a second head, as in DeiT.
        registers: Number of tokens behind the class token that no head reads.
        pre_norm: Whether to normalize the first block's input, as in CLIP; patches then have no bias.
        final_norm: Whether to normalize the last block's output.
        fc_norm: If true, that norm comes after pooling; by default only after that of "average".
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
        stochastic_depth: Rate at which the last block's branches are left out for an example, in training; it
            rises from 0 at the first one.
        scan: Whether to run the blocks in a loop over stacked arrays: deep models compile sooner.
        remat: Whether to recompute a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such activation, head, pooling or resizing.
    """
    image, patch = pair(image_size), pair(patch_size)
    pooling = pooling or ("both" if distilled else "token")
    if head == "pooler":
        representation = representation or True
    norm_after_pooling = pooling == "average" if fc_norm is None else fc_norm
    for name, value, right, expected in (
        ("image_size", image, not (image[0] % patch[0] or image[1] % patch[1]), f"multiples of {patch}"),
        ("width", width, width % heads == 0, f"a number that {heads} heads can share"),
        ("fc_norm", fc_norm, not (norm_after_pooling and pooling == "both"), 'False with pooling="both"'),
        (
            "fc_norm",
            fc_norm,
            not (norm_after_pooling and head == "masked_images"),
            "False where nothing is pooled",
        ),
        ("representation", representation, not (pooling == "both" and representation), "0 with two tokens"),
        ("head", head, head in HEADS, f"one of {', '.join(HEADS)}"),
        ("pooling", pooling, pooling in POOLING, f"one of {', '.join(POOLING)}"),
        ("pooling", pooling, pooling != "both" or distilled, "another one without distilled=True"),
        ("pooling", pooling, class_token or pooling in _UNCLASSED, f"one of {', '.join(_UNCLASSED)}"),
        ("distilled", distilled, class_token or not distilled, "False without a class token"),
        (
            "scan",
            scan,
            not (scan and stochastic_depth),
            "False with stochastic_depth, which blocks differ in",
        ),
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
        class_token=class_token,
        class_position=class_position,
        distilled=distilled,
        registers=registers,
        pre_norm=pre_norm,
        final_norm=final_norm,
        norm_after_pooling=norm_after_pooling,
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
        stochastic_depth=stochastic_depth,
        dtype=dtype,
    )
