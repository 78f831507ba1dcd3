"""Encoders of texts and of images that share a space of vectors, with the names of transformers' CLIP."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import attention, key_mask, weights_dropout
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.patches import checked_patches, pair, resized
from zoo._nn.tokens import like_ids, token_ids

INIT = nn.initializers.normal(0.02)
LEGACY_END = 2  # eos_token_id of files from before transformers read it; the texts' own is the largest id
Dense = partial(nn.Dense, kernel_init=INIT)
LayerNorm = partial(nn.LayerNorm, use_fast_variance=False)


class Sizes(NamedTuple):
    """Sizes and options of an encoder's blocks."""

    width: int
    heads: int
    feed_forward: int
    activation: str
    epsilon: float
    attention_dropout: float
    series: LayerStack


class TextSettings(NamedTuple):
    """Settings of a text encoder.

    Attributes:
        sizes: Those of the blocks.
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest text, in tokens.
        causal: If true, tokens attend to those before them only.
        end: Id of the token whose first place is pooled; None pools the last place.
        head: Size of the dense layer after pooling; 0 leaves it out.
    """

    sizes: Sizes
    vocab_size: int
    max_length: int
    causal: bool
    end: int | None
    head: int


class ImageSettings(NamedTuple):
    """Settings of an image encoder.

    Attributes:
        sizes: Those of the blocks.
        image_size: Side of the images that have a position embedding for each patch, in pixels.
        patch_size: Side of a patch, in pixels.
        in_channels: Number of channels.
        class_token: If true, a class token is pooled; else a learned query pools the patches by attention.
    """

    sizes: Sizes
    image_size: int
    patch_size: int
    in_channels: int
    class_token: bool


class Attention(nn.Module):
    """Attention with a dense layer each for queries, keys and values."""

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        dense = partial(Dense, self.sizes.width, dtype=self.dtype)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = dense(), dense(), dense(), dense()
        self.drop = nn.Dropout(self.sizes.attention_dropout)

    def __call__(
        self,
        queries: jax.Array,
        states: jax.Array,
        *,
        mask: jax.Array | None = None,
        causal: bool = False,
        train: bool = False,
    ) -> jax.Array:
        """(batch, queries, width) attend to (batch, length, width) -> (batch, queries, width)."""

        def split(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:2], self.sizes.heads, -1)

        found = attention(
            split(self.q_proj(queries)),
            split(self.k_proj(states)),
            split(self.v_proj(states)),
            mask=mask,
            is_causal=causal,
            dropout=weights_dropout(self.drop, train=train),
        )
        out: jax.Array = self.out_proj(found.reshape(queries.shape))
        return out


class FeedForward(nn.Module):
    """Two dense layers."""

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.fc1 = Dense(self.sizes.feed_forward, dtype=self.dtype)
        self.fc2 = Dense(self.sizes.width, dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        out: jax.Array = self.fc2(ACTIVATIONS[self.sizes.activation](self.fc1(x)))
        return out


class EncoderLayer(nn.Module):
    """Pre-norm block: attention, then two dense layers, each with a residual connection."""

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        norm = partial(LayerNorm, self.sizes.epsilon, dtype=self.dtype)
        self.layer_norm1 = norm()
        self.self_attn = Attention(self.sizes, self.dtype)
        self.layer_norm2 = norm()
        self.mlp = FeedForward(self.sizes, self.dtype)

    def __call__(
        self, x: jax.Array, *, mask: jax.Array | None = None, causal: bool = False, train: bool = False
    ) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        normed = self.layer_norm1(x)
        x = x + self.self_attn(normed, normed, mask=mask, causal=causal, train=train)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """Equal blocks."""

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.layers = self.sizes.series.build(partial(EncoderLayer, self.sizes, self.dtype))

    def __call__(
        self, x: jax.Array, *, mask: jax.Array | None = None, causal: bool = False, train: bool = False
    ) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        call = partial(EncoderLayer.__call__, mask=mask, causal=causal, train=train)
        return self.sizes.series.apply(self.layers, call, x)


class TextEmbeddings(nn.Module):
    """Vectors of tokens and of their places."""

    settings: TextSettings
    dtype: DTypeLike | None

    def setup(self) -> None:
        embed = partial(nn.Embed, features=self.settings.sizes.width, dtype=self.dtype, embedding_init=INIT)
        self.token_embedding = embed(self.settings.vocab_size)
        self.position_embedding = embed(self.settings.max_length)

    def __call__(self, ids: jax.Array, places: jax.Array) -> jax.Array:
        """(batch, length) ids and places -> (batch, length, width)."""
        embedded: jax.Array = self.token_embedding(ids) + self.position_embedding(places)
        return embedded


class ImageEmbeddings(nn.Module):
    """Vectors of patches, behind that of the class token, with those of their places."""

    settings: ImageSettings
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings, width = self.settings, self.settings.sizes.width
        side = settings.patch_size
        self.patch_embedding = nn.Conv(
            width,
            (side, side),
            (side, side),
            "VALID",
            use_bias=not settings.class_token,
            dtype=self.dtype,
            kernel_init=INIT,
        )
        if settings.class_token:
            self.class_embedding = self.param(
                "class_embedding", nn.initializers.normal(width**-0.5), (width,)
            )
        count = (settings.image_size // side) ** 2 + settings.class_token
        self.position_embedding = nn.Embed(count, width, dtype=self.dtype, embedding_init=INIT)

    def __call__(self, images: jax.Array) -> jax.Array:
        """(batch, height, width, in_channels) -> (batch, tokens, width)."""
        patches = self.patch_embedding(images)
        batch, down, across, width = patches.shape
        tokens = patches.reshape(batch, down * across, width)
        if self.settings.class_token:
            first = jnp.broadcast_to(self.class_embedding.astype(tokens.dtype), (batch, 1, width))
            tokens = jnp.concatenate([first, tokens], axis=1)
        table = self.position_embedding(jnp.arange(self.position_embedding.num_embeddings))[None]
        own = (self.settings.image_size // self.settings.patch_size,) * 2
        before = int(self.settings.class_token)
        return tokens + resized(table, own, (down, across), resizing="transformers", before=before)


class PoolingHead(nn.Module):
    """One vector for a sequence: what a learned query attends to, then dense layers, which are added to it.

    Zhai et al., https://arxiv.org/abs/2106.04560, section 3.3.
    """

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.probe = self.param("probe", nn.initializers.xavier_uniform(), (1, 1, self.sizes.width))
        # PyTorch's layer here has no dropout.
        self.attention = Attention(self.sizes._replace(attention_dropout=0.0), self.dtype)
        self.layernorm = LayerNorm(self.sizes.epsilon, dtype=self.dtype)
        self.mlp = FeedForward(self.sizes, self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        probe = jnp.broadcast_to(self.probe.astype(x.dtype), (x.shape[0], 1, x.shape[-1]))
        out = self.attention(probe, x)
        return (out + self.mlp(self.layernorm(out)))[:, 0]


class TextTower(nn.Module):
    """Text encoder; pools the state at the end of a text."""

    settings: TextSettings
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes = self.settings.sizes
        self.embeddings = TextEmbeddings(self.settings, self.dtype)
        self.encoder = Encoder(sizes, self.dtype)
        self.final_layer_norm = LayerNorm(sizes.epsilon, dtype=self.dtype)
        self.head = Dense(self.settings.head, dtype=self.dtype)

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        """(batch, length) token ids -> (batch, length, width) states and (batch, size) pooled ones."""
        settings = self.settings
        ids = token_ids(input_ids, settings.vocab_size)
        length = ids.shape[1]
        if length > settings.max_length:
            raise ZooError(
                f"input_ids of {length} tokens; the model takes at most {settings.max_length}: shorten the "
                "texts, and keep the token that ends them."
            )
        mask = key_mask(like_ids(attention_mask, ids, "attention_mask"))
        if position_ids is not None:
            position_ids = token_ids(position_ids, settings.max_length, name="position_ids")
        places = like_ids(position_ids, ids, "position_ids")
        x = self.embeddings(ids, jnp.arange(length)[None] if places is None else places)
        x = self.encoder(x, mask=mask, causal=settings.causal, train=train)
        states = self.final_layer_norm(x)
        pooled = self._pooled(states, ids)
        return states, self.head(pooled) if settings.head else pooled

    def _pooled(self, states: jax.Array, ids: jax.Array) -> jax.Array:
        """(batch, length, width) -> (batch, width), the states of the tokens that end the texts."""
        end = self.settings.end
        if end is None:
            return states[:, -1]
        last = (ids if end == LEGACY_END else ids == end).argmax(-1)
        return jnp.take_along_axis(states, last[:, None, None], 1)[:, 0]


class ImageTower(nn.Module):
    """Image encoder; pools the class token, or the patches."""

    settings: ImageSettings
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes = self.settings.sizes
        self.embeddings = ImageEmbeddings(self.settings, self.dtype)
        self.pre_layrnorm = LayerNorm(sizes.epsilon, dtype=self.dtype)  # spelt as in all files
        self.encoder = Encoder(sizes, self.dtype)
        self.post_layernorm = LayerNorm(sizes.epsilon, dtype=self.dtype)
        self.head = PoolingHead(sizes, self.dtype)

    def __call__(self, pixel_values: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """(batch, height, width, in_channels) -> (batch, tokens, width) states and (batch, width) pooled."""
        settings = self.settings
        images = checked_patches(
            pixel_values,
            settings.in_channels,
            image_size=pair(settings.image_size),
            patch_size=pair(settings.patch_size),
            name="pixel_values",
        )
        x = self.embeddings(images)
        if not settings.class_token:
            states = self.post_layernorm(self.encoder(x, train=train))
            return states, self.head(states)
        states = self.encoder(self.pre_layrnorm(x), train=train)
        return states, self.post_layernorm(states[:, 0])
