"""The layers of Whisper; the attributes have the names of the Hub's files."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.caches import Cache
from zoo._nn.layers import ACTIVATIONS

LONGEST = 10_000  # of the waves of `sinusoids`, over 2 pi


class Settings(NamedTuple):
    """Sizes and options that the layers of a side share.

    Attributes:
        width: Size of the hidden states.
        heads: Number of attention heads.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        dropout: Rate before each residual connection.
        attention_dropout: Rate of the attention weights.
        activation_dropout: Rate after the activation.
        dtype: Dtype to compute in.
    """

    width: int
    heads: int
    feed_forward: int
    activation: str
    dropout: float
    attention_dropout: float
    activation_dropout: float
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(1e-5, self.dtype, use_fast_variance=False)

    def dense(self, features: int, *, bias: bool = True) -> nn.Dense:
        """Builds a dense layer."""
        init = nn.initializers.normal(0.02)
        return nn.Dense(features, use_bias=bias, dtype=self.dtype, kernel_init=init)


class Step(NamedTuple):
    """Arguments that are the same for every layer.

    Attributes:
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        column: Column of the caches, if there are any, that the token goes to.
        states: (batch, frames, width) of the encoder, where no cache has its keys and values.
        train: If true, dropout is applied.
    """

    mask: jax.Array | None
    column: jax.Array | int
    states: jax.Array | None
    train: bool


def sinusoids(key: jax.Array, shape: tuple[int, int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Returns (length, width) sines, then cosines, of ever longer waves: the encoder's positions at first."""
    length, width = shape
    rates = LONGEST ** -(np.arange(width // 2) / max(width // 2 - 1, 1))
    angles = np.arange(length)[:, None] * rates
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1), dtype)


class Attention(nn.Module):
    """Attention to the same sequence or another's; a bias of the keys would change no weight."""

    settings: Settings

    def setup(self) -> None:
        width = self.settings.width
        self.k_proj = self.settings.dense(width, bias=False)
        self.v_proj, self.q_proj, self.out_proj = (self.settings.dense(width) for _ in range(3))
        self.dropout = nn.Dropout(self.settings.attention_dropout)

    def made(self, x: jax.Array) -> Cache:
        """(batch, length, width) -> its keys and values."""
        return Cache(*(self._split(layer(x)).swapaxes(1, 2) for layer in (self.k_proj, self.v_proj)))

    def __call__(
        self,
        x: jax.Array,
        cache: Cache,
        *,
        mask: jax.Array | None = None,
        is_causal: bool = False,
        train: bool,
    ) -> jax.Array:
        """(batch, queries, width) and keys and values -> (batch, queries, width)."""
        # The encoder's spectrogram may be of another dtype than the decoder's parameters.
        query, keys, values = promote_dtype(
            self._split(self.q_proj(x)), *(each.swapaxes(1, 2) for each in cache), dtype=self.settings.dtype
        )
        out = attention(
            query,
            keys,
            values,
            mask=mask,
            is_causal=is_causal,
            dropout=weights_dropout(self.dropout, train=train),
        )
        projected: jax.Array = self.out_proj(out.reshape(x.shape))
        return projected

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], self.settings.heads, -1)


class EncoderLayer(nn.Module):
    """Pre-norm layer: attention, then two dense layers, each with a residual connection."""

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        self.self_attn_layer_norm, self.final_layer_norm = settings.norm(), settings.norm()
        self.self_attn = Attention(settings)
        self.fc1, self.fc2 = settings.dense(settings.feed_forward), settings.dense(settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.activation_dropout = nn.Dropout(settings.activation_dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        drop = partial(self.dropout, deterministic=not train)
        normal = self.self_attn_layer_norm(x)
        x = x + drop(self.self_attn(normal, self.self_attn.made(normal), train=train))
        inner = ACTIVATIONS[self.settings.activation](self.fc1(self.final_layer_norm(x)))
        out: jax.Array = x + drop(self.fc2(self.activation_dropout(inner, deterministic=not train)))
        return out


class DecoderLayer(nn.Module):
    """Pre-norm layer: causal attention, attention to the encoder's states, then two dense layers."""

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        self.self_attn_layer_norm, self.encoder_attn_layer_norm = settings.norm(), settings.norm()
        self.final_layer_norm = settings.norm()
        self.self_attn, self.encoder_attn = Attention(settings), Attention(settings)
        self.fc1, self.fc2 = settings.dense(settings.feed_forward), settings.dense(settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.activation_dropout = nn.Dropout(settings.activation_dropout)

    def cross(self, states: jax.Array) -> Cache:
        """Returns the keys and values of the encoder's (batch, frames, width) states."""
        return self.encoder_attn.made(states)

    def __call__(
        self, x: jax.Array, step: Step, cache: Cache | None, cross: Cache | None
    ) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values of the tokens so far."""
        drop = partial(self.dropout, deterministic=not step.train)
        normal = self.self_attn_layer_norm(x)
        made = self.self_attn.made(normal)
        made = made if cache is None else cache.written(made, step.column)
        x = x + drop(self.self_attn(normal, made, mask=step.mask, is_causal=cache is None, train=step.train))
        if cross is None:
            assert step.states is not None  # the model gives either
            cross = self.cross(step.states)
        x = x + drop(self.encoder_attn(self.encoder_attn_layer_norm(x), cross, train=step.train))
        inner = ACTIVATIONS[self.settings.activation](self.fc1(self.final_layer_norm(x)))
        return x + drop(self.fc2(self.activation_dropout(inner, deterministic=not step.train))), made
