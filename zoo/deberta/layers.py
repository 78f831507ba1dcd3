"""The layers of DeBERTa's encoder; the attributes have the names of the Hub's files."""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.layers import ACTIVATIONS
from zoo.bert import layers as bert
from zoo.bert.parts import Sizes


class Settings(NamedTuple):
    """Sizes and options of the layers and heads; `create` of the model documents them."""

    layers: bert.Settings
    sizes: Sizes
    embedding_width: int
    depth: int
    fused: bool
    relative: bool
    max_relative: int
    buckets: int | None
    position_attention: tuple[str, ...]
    shares_projections: bool
    norm_relative: bool
    adds_positions: bool
    conv_size: int
    conv_groups: int
    conv_activation: str
    word_activation: str
    pooler_activation: str
    pooler_dropout: float
    classifier_dropout: float
    remat: bool

    @property
    def span(self) -> int:
        """Number of embeddings of positions to either side."""
        return self.max_relative if self.buckets is None else self.buckets


class Embeddings(nn.Module):
    """Embeddings of tokens and, where the model adds them, of positions and token types; 0 for padding."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        settings, sizes = self.settings, self.settings.sizes
        narrow = self.layers._replace(width=settings.embedding_width)
        self.word_embeddings = narrow.embed(sizes.vocab_size)
        self.position_embeddings = narrow.embed(sizes.max_length)
        self.token_type_embeddings = narrow.embed(sizes.token_types)
        init = nn.initializers.normal(0.02)
        self.embed_proj = nn.Dense(
            self.layers.width, use_bias=False, dtype=self.layers.dtype, kernel_init=init
        )
        self.LayerNorm = self.layers.norm()
        self.dropout = nn.Dropout(self.layers.dropout)

    def __call__(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None,
        positions: jax.Array | None,
        *,
        train: bool,
    ) -> jax.Array:
        """(batch, length) token ids -> (batch, length, width)."""
        settings = self.settings
        x = self.word_embeddings(ids)
        if settings.adds_positions:
            if positions is None:
                positions = bert.positions(ids, settings.sizes.max_length)
            x = x + self.position_embeddings(positions)
        if settings.sizes.token_types:
            x = x + self.token_type_embeddings(jnp.zeros_like(ids) if types is None else types)
        if settings.embedding_width != self.layers.width:
            x = self.embed_proj(x)
        out: jax.Array = self.dropout(_kept(self.LayerNorm(x), mask), deterministic=not train)
        return out


class SelfAttention(nn.Module):
    """Attention by contents, and by contents and relative positions: section 3.1 of the paper."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        layers, settings = self.layers, self.settings
        width, init = layers.width, nn.initializers.normal(0.02)
        if settings.fused:  # with the three of each head side by side, and no bias of keys
            self.in_proj = nn.Dense(3 * width, use_bias=False, dtype=layers.dtype, kernel_init=init)
            self.q_bias, self.v_bias = (
                self.param(name, nn.initializers.zeros, (width,)) for name in ("q_bias", "v_bias")
            )
            self.pos_proj = nn.Dense(width, use_bias=False, dtype=layers.dtype, kernel_init=init)
            self.pos_q_proj = layers.dense(width)
        else:
            self.query_proj, self.key_proj, self.value_proj = (layers.dense(width) for _ in range(3))
            self.pos_key_proj, self.pos_query_proj = layers.dense(width), layers.dense(width)
        self.dropout = nn.Dropout(layers.attention_dropout)
        self.pos_dropout = nn.Dropout(layers.dropout)

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, relative: jax.Array | None, *, train: bool
    ) -> jax.Array:
        """(batch, length, width) -> the same shape.

        Args:
            x: States.
            mask: True where to attend, (batch, 1, length, length); None for everywhere.
            relative: (2 * span, width) embeddings of relative positions; None for none.
            train: If true, applies dropout.
        """
        query, key, value = self._projected(x)
        scale = 1 / math.sqrt(query.shape[-1] * (1 + len(self.settings.position_attention)))
        bias = None
        if relative is not None and self.settings.position_attention:
            relative = self.pos_dropout(relative, deterministic=not train)
            bias = scale * self._bias(query, key, relative)
        dropout = weights_dropout(self.dropout, train=train)
        found = attention(query, key, value, mask=mask, scale=scale, bias=bias, dropout=dropout)
        return found.reshape(x.shape)

    def _projected(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns queries, keys and values, each (batch, length, heads, head_dim)."""
        if not self.settings.fused:
            layers = (self.query_proj, self.key_proj, self.value_proj)
            query, key, value = (self._split(layer(x)) for layer in layers)
            return query, key, value
        query, key, value = jnp.split(self._split(self.in_proj(x)), 3, axis=-1)
        q_bias, v_bias = (each.astype(x.dtype)[None, None] for each in (self.q_bias, self.v_bias))
        return query + self._split(q_bias), key, value + self._split(v_bias)

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], self.layers.heads, -1)

    def _bias(self, query: jax.Array, key: jax.Array, relative: jax.Array) -> jax.Array:
        """Returns (batch, heads, queries, keys) products of contents and relative positions."""
        settings, total = self.settings, jnp.zeros((), query.dtype)
        places = jnp.asarray(indices(query.shape[1], settings))[None, None]
        shared = settings.shares_projections
        if "c2p" in settings.position_attention:
            layer = self.pos_proj if settings.fused else self.key_proj if shared else self.pos_key_proj
            found = jnp.einsum("bqhd,phd->bhqp", query, self._split(layer(relative)[None])[0])
            total = total + jnp.take_along_axis(found, places, axis=3)
        if "p2c" in settings.position_attention:
            layer = self.pos_q_proj if settings.fused else self.query_proj if shared else self.pos_query_proj
            found = jnp.einsum("bkhd,phd->bhpk", key, self._split(layer(relative)[None])[0])
            total = total + jnp.take_along_axis(found, places, axis=2)
        return total


def indices(length: int, settings: Settings) -> np.ndarray:
    """Returns (length, length) indices of embeddings of how far each query is behind each key.

    Near distances have an embedding each; with buckets, farther ones have one for a range that grows with the
    distance. In float32, as PyTorch: where one ends is a matter of rounding.
    """
    distance = np.arange(length)[:, None] - np.arange(length)[None]
    if settings.buckets is not None:
        middle, most = settings.buckets // 2, settings.max_relative
        near = np.abs(distance) <= middle
        ratio = np.where(near, middle, np.abs(distance)).astype(np.float32) / np.float32(middle)
        growth = np.log(ratio) / np.log(np.float32((most - 1) / middle)) * np.float32(middle - 1)
        far = np.sign(distance) * (np.ceil(growth).astype(int) + middle)
        distance = np.where(near, distance, far)
    found: np.ndarray = np.clip(distance + settings.span, 0, 2 * settings.span - 1)
    return found


class Attention(nn.Module):
    """Self-attention and its output layer."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        self.self = SelfAttention(self.settings, self.layers)
        self.output = bert.Output(self.layers, drops=True)

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, relative: jax.Array | None, *, train: bool
    ) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        out: jax.Array = self.output(self.self(x, mask, relative, train=train), x, train=train)
        return out


class Layer(nn.Module):
    """Post-norm layer: attention, then two dense layers, each with a residual connection."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        self.attention = Attention(self.settings, self.layers)
        self.intermediate = bert.Intermediate(self.layers)
        self.output = bert.Output(self.layers, drops=True)

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, relative: jax.Array | None, *, train: bool
    ) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        x = self.attention(x, mask, relative, train=train)
        out: jax.Array = self.output(self.intermediate(x), x, train=train)
        return out


class Convolution(nn.Module):
    """Convolution of the embeddings, which is added to the states of the first layer."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        size = self.settings.conv_size
        self.conv = nn.Conv(
            self.layers.width,
            (size,),
            padding=[((size - 1) // 2,) * 2],
            feature_group_count=self.settings.conv_groups,
            dtype=self.layers.dtype,
        )
        self.LayerNorm = self.layers.norm()
        self.dropout = nn.Dropout(self.layers.dropout)

    def __call__(
        self, embedded: jax.Array, states: jax.Array, mask: jax.Array | None, *, train: bool
    ) -> jax.Array:
        """(batch, length, width) embeddings and states -> the same shape."""
        x = self.dropout(_kept(self.conv(embedded), mask), deterministic=not train)
        x = ACTIVATIONS[self.settings.conv_activation](x)
        return _kept(self.LayerNorm(states + x), mask)


class Encoder(nn.Module):
    """The layers, and the embeddings of relative positions that they share."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        settings = self.settings
        self.layer = [Layer(settings, self.layers) for _ in range(settings.depth)]
        self.rel_embeddings = self.layers.embed(2 * settings.span)
        self.LayerNorm = self.layers.norm()
        self.conv = Convolution(settings, self.layers)

    def __call__(self, embedded: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        settings, x, pairs = self.settings, embedded, None
        if mask is not None:
            kept = jnp.broadcast_to(mask, embedded.shape[:2]).astype(bool)
            pairs = (kept[:, :, None] & kept[:, None])[:, None]
        relative = self._relative()
        call = _call if not settings.remat else nn.remat(_call, static_argnums=(4,))
        for index, layer in enumerate(self.layer):
            x = call(layer, x, pairs, relative, train)
            if not index and settings.conv_size:
                x = self.conv(embedded, x, mask, train=train)
        return x

    def _relative(self) -> jax.Array | None:
        """Returns the embeddings of relative positions, if there are any."""
        if not self.settings.relative:
            return None
        found: jax.Array = self.rel_embeddings(jnp.arange(2 * self.settings.span))
        return self.LayerNorm(found) if self.settings.norm_relative else found


def _call(
    layer: Layer, x: jax.Array, mask: jax.Array | None, relative: jax.Array | None, train: bool
) -> jax.Array:
    return layer(x, mask, relative, train=train)


def _kept(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns (batch, length, width) numbers, 0 for tokens that the mask does not keep."""
    return x if mask is None else x * mask[..., None].astype(x.dtype)


class Base(nn.Module):
    """Embeddings and the encoder."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        layers = self.settings.layers._replace(dtype=self.dtype)
        self.embeddings = Embeddings(self.settings, layers)
        self.encoder = Encoder(self.settings, layers)

    def __call__(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None,
        positions: jax.Array | None,
        *,
        train: bool,
    ) -> jax.Array:
        """(batch, length) token ids -> (batch, length, width) states of the last layer."""
        x = self.embeddings(ids, mask, types, positions, train=train)
        states: jax.Array = self.encoder(x, mask, train=train)
        return states

    def words(self) -> nn.Embed:
        """Returns the token embeddings."""
        found: nn.Embed = self.embeddings.word_embeddings
        return found
