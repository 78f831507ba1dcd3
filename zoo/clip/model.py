"""Encoders of texts and images in one space, for comparing any with any: CLIP, SigLIP, SigLIP 2.

CLIP: Radford et al., https://arxiv.org/abs/2103.00020. SigLIP, whose pairs have probabilities of their own:
Zhai et al., https://arxiv.org/abs/2303.15343. SigLIP 2: Tschannen et al., https://arxiv.org/abs/2502.14786.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.outputs import PairOutput
from zoo._nn.patches import checked_sides
from zoo._nn.towers import Dense, ImageSettings, ImageTower, Sizes, TextSettings, TextTower
from zoo._registry.entry import Input

TASKS = {
    "both": "zero-shot-image-classification",
    "text": "feature-extraction",
    "image": "image-feature-extraction",
}
HEADS = tuple(TASKS)
VARIANTS = ("clip", "siglip")
# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "token_embedding/embedding": ("model", None),
    "([qkv]_proj|fc1)/kernel": (None, "model"),
    "([qkv]_proj|fc1)/bias": ("model",),
    "(out_proj|fc2)/kernel": ("model", None),
}
# Initial values of the logits' scale, as a logarithm, and of their bias: CLIP's section 2.5, SigLIP's 3.2.
_TEMPERATURE = {"clip": math.log(1 / 0.07), "siglip": math.log(10)}
_BIAS = -10.0


class _Texts:
    """Sizes of a module whose text encoder has the settings `text`."""

    text: TextSettings

    @property
    def max_length(self) -> int:
        """Longest text, in tokens."""
        return self.text.max_length

    @property
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary."""
        return self.text.vocab_size


class CLIP(_Texts, nn.Module):
    """Text and image encoder, and the products of their vectors."""

    variant: str
    text: TextSettings
    images: ImageSettings
    projection: int
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        project = partial(Dense, self.projection, use_bias=False, dtype=self.dtype)
        self.text_model = TextTower(self.text, self.dtype)
        self.vision_model = ImageTower(self.images, self.dtype)
        self.text_projection, self.visual_projection = project(), project()
        shape = () if self.variant == "clip" else (1,)
        scale, bias = (nn.initializers.constant(each) for each in (_TEMPERATURE[self.variant], _BIAS))
        self.logit_scale = self.param("logit_scale", scale, shape)
        if self.variant == "siglip":
            self.logit_bias = self.param("logit_bias", bias, shape)

    @property
    def embedding_size(self) -> int:
        """Size of the vectors."""
        return self.projection

    @property
    def scores(self) -> str:
        """Meaning of an image's logits: one text of all is right, "softmax", or each may be, "sigmoid"."""
        return "softmax" if self.variant == "clip" else "sigmoid"

    def get_text_features(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """(batch, length) token ids -> (batch, size) vectors of texts, of any length."""
        _, pooled = self.text_model(input_ids, attention_mask, position_ids, train=train)
        return self.text_projection(pooled) if self.variant == "clip" else pooled

    def get_image_features(self, pixel_values: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, in_channels) images -> (batch, size) vectors of images, of any length."""
        _, pooled = self.vision_model(pixel_values, train=train)
        return self.visual_projection(pooled) if self.variant == "clip" else pooled

    def temperature(self) -> tuple[jax.Array, jax.Array]:
        """Returns the factor of the products of vectors, and what is added to them."""
        bias = self.logit_bias if self.variant == "siglip" else jnp.zeros_like(self.logit_scale)
        return jnp.exp(self.logit_scale), bias

    def __call__(
        self,
        input_ids: jax.Array,
        pixel_values: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> PairOutput:
        """Compares each text with each image; there may be other numbers of them.

        Args:
            input_ids: (texts, length) token ids. CLIP reads a text's vector at the token that ends it; SigLIP
                at the last place, for which texts are padded to the longest length with its padding token.
            pixel_values: (images, height, width, in_channels). For other sizes than `image_size`, the
                position embeddings are resized.
            attention_mask: (texts, length), 1 for tokens to keep and 0 for padding; SigLIP knows none.
            position_ids: (texts, length) positions; by default 0, 1, 2 ...
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too long a text, another shape, or, unless it is compiled, an id that the model lacks.
        """
        images = _unit(self.get_image_features(pixel_values, train=train))
        texts = _unit(self.get_text_features(input_ids, attention_mask, position_ids, train=train))
        scale, bias = (each.astype(texts.dtype) for each in self.temperature())
        logits = texts @ images.T * scale + bias
        return PairOutput(
            logits_per_image=logits.T, logits_per_text=logits, text_embeds=texts, image_embeds=images
        )


class TextEncoder(_Texts, nn.Module):
    """The text encoder alone."""

    text: TextSettings
    projection: int
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.text_model = TextTower(self.text, self.dtype)
        self.text_projection = Dense(self.projection, use_bias=False, dtype=self.dtype)

    @property
    def embedding_size(self) -> int:
        """Size of the vectors."""
        return self.projection or self.text.head or self.text.sizes.width

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> PairOutput:
        """(batch, length) token ids -> states, and vectors of any length; arguments as those of `CLIP`."""
        states, pooled = self.text_model(input_ids, attention_mask, position_ids, train=train)
        embeds = self.text_projection(pooled) if self.projection else pooled
        return PairOutput(text_embeds=embeds, last_hidden_state=states, pooler_output=pooled)


class ImageEncoder(nn.Module):
    """The image encoder alone."""

    images: ImageSettings
    projection: int
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.vision_model = ImageTower(self.images, self.dtype)
        self.visual_projection = Dense(self.projection, use_bias=False, dtype=self.dtype)

    @property
    def embedding_size(self) -> int:
        """Size of the vectors."""
        return self.projection or self.images.sizes.width

    def __call__(self, pixel_values: jax.Array, *, train: bool = False) -> PairOutput:
        """(batch, height, width, in_channels) images -> states, and vectors of any length."""
        states, pooled = self.vision_model(pixel_values, train=train)
        embeds = self.visual_projection(pooled) if self.projection else pooled
        return PairOutput(image_embeds=embeds, last_hidden_state=states, pooler_output=pooled)


def _unit(vectors: jax.Array) -> jax.Array:
    """Returns the vectors with the length 1."""
    return vectors / jnp.sqrt(jnp.sum(jnp.square(vectors), axis=-1, keepdims=True))


def inputs(module: Any, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs of the module: texts, images of its size and channels, or both."""
    text, images = getattr(module, "text", None), getattr(module, "images", None)
    found = []
    if text:
        found.append(Input("input_ids", (1, min(16, text.max_length)), "int32"))
    if images:
        shape = (1, images.image_size, images.image_size, images.in_channels)
        found.append(Input("pixel_values", shape, "float32"))
    return tuple(found)


def max_tokens(module: Any) -> int:
    """Returns the longest text, in tokens; 0 for an image encoder alone."""
    return int(getattr(module, "max_length", 0))


def create(
    *,
    variant: str = "clip",
    head: str = "both",
    image_size: int = 224,
    patch_size: int = 32,
    in_channels: int = 3,
    image_width: int = 768,
    image_depth: int = 12,
    image_heads: int = 12,
    image_feed_forward: int = 3072,
    image_activation: str = "quick_gelu",
    image_epsilon: float = 1e-5,
    image_attention_dropout: float = 0.0,
    vocab_size: int = 49408,
    max_length: int = 77,
    eos_token_id: int = 49407,
    text_width: int = 512,
    text_depth: int = 12,
    text_heads: int = 8,
    text_feed_forward: int = 2048,
    text_activation: str = "quick_gelu",
    text_epsilon: float = 1e-5,
    text_attention_dropout: float = 0.0,
    projection: int | None = None,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> nn.Module:
    """Builds a model of texts and images; the defaults are OpenAI's CLIP ViT-B/32.

    Args:
        variant: One of VARIANTS: "clip", whose images have a class token, whose tokens attend to those before
            them, and whose texts are read at their end; or "siglip", with attention pooling, attention to
            all tokens, and a bias of the logits.
        head: One of HEADS: "both" compares texts and images, "text" and "image" are one encoder alone.
        image_size: Side of the images, in pixels; sets the position embeddings.
        patch_size: Side of a patch, in pixels.
        in_channels: Number of channels of the images.
        image_width: Size of the image encoder's states.
        image_depth: Number of its blocks.
        image_heads: Number of its attention heads; divides its width.
        image_feed_forward: Size of the hidden layer between a block's two dense layers.
        image_activation: Name of the activation between them.
        image_epsilon: Epsilon of its layer norms.
        image_attention_dropout: Rate of its attention weights.
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest text, in tokens.
        eos_token_id: Id of the token that ends a text, at whose first place "clip" reads it. 2, which old
            files say whatever their vocabulary, stands for the text's largest id.
        text_width: Size of the text encoder's states.
        text_depth: Number of its blocks.
        text_heads: Number of its attention heads; divides its width.
        text_feed_forward: Size of the hidden layer between a block's two dense layers.
        text_activation: Name of the activation between them.
        text_epsilon: Epsilon of its layer norms.
        text_attention_dropout: Rate of its attention weights.
        projection: Size of the vectors of texts and images, by default `text_width`; of one encoder alone, 0
            leaves the projection out. With "siglip" it is that of texts, and equals `image_width`.
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such variant, head or activation.
    """
    size = text_width if projection is None else projection
    is_clip, both = variant == "clip", head == "both"
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    checked_sides(image_size, patch_size)
    check_options(
        ("image_width", image_width, image_width % image_heads == 0, f"a multiple of {image_heads} heads"),
        ("text_width", text_width, text_width % text_heads == 0, f"a multiple of {text_heads} heads"),
        ("projection", size, size or not both, "1 or more, unless one encoder is alone"),
        ("projection", size, is_clip or not both or size == image_width, f"{image_width}, image_width="),
    )
    text = TextSettings(
        sizes=Sizes(
            width=text_width,
            heads=text_heads,
            feed_forward=text_feed_forward,
            activation=check_activation(text_activation),
            epsilon=text_epsilon,
            attention_dropout=text_attention_dropout,
            series=LayerStack(text_depth, scan=scan, remat=remat),
        ),
        vocab_size=vocab_size,
        max_length=max_length,
        causal=is_clip,
        end=eos_token_id if is_clip else None,
        head=0 if is_clip else size,
    )
    images = ImageSettings(
        sizes=Sizes(
            width=image_width,
            heads=image_heads,
            feed_forward=image_feed_forward,
            activation=check_activation(image_activation),
            epsilon=image_epsilon,
            attention_dropout=image_attention_dropout,
            series=LayerStack(image_depth, scan=scan, remat=remat),
        ),
        image_size=image_size,
        patch_size=patch_size,
        in_channels=in_channels,
        class_token=is_clip,
    )
    if head == "text":
        return TextEncoder(text=text, projection=size if is_clip else 0, dtype=dtype)
    if head == "image":
        return ImageEncoder(images=images, projection=size if is_clip else 0, dtype=dtype)
    return CLIP(variant=variant, text=text, images=images, projection=size, dtype=dtype)
