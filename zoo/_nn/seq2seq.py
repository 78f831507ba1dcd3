"""The layers of encoder-decoders whose files have the names of fairseq: BART and its relatives, Whisper."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.caches import Cache
from zoo._nn.layers import ACTIVATIONS


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
        norm_first: If true, normalizes a part's input (pre-norm) instead of the sum after it (post-norm).
        key_bias: If true, keys have a bias, though it would change no weight.
    """

    width: int
    heads: int
    feed_forward: int
    activation: str
    dropout: float
    attention_dropout: float
    activation_dropout: float
    dtype: DTypeLike | None
    norm_first: bool = True
    key_bias: bool = True

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(1e-5, self.dtype, use_fast_variance=False)

    def dense(self, features: int, *, bias: bool = True) -> nn.Dense:
        """Builds a dense layer."""
        init = nn.initializers.normal(0.02)
        return nn.Dense(features, use_bias=bias, dtype=self.dtype, kernel_init=init)


class Step(NamedTuple):
    """Arguments that are the same for every layer of a decoder.

    Attributes:
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        column: Column of the caches, if there are any, that the token goes to.
        states: (batch, length, width) of the encoder, where no cache has its keys and values.
        states_mask: True for those to attend to; None for all.
        train: If true, dropout is applied.
    """

    mask: jax.Array | None
    column: jax.Array | int
    states: jax.Array | None
    states_mask: jax.Array | None
    train: bool


class Attention(nn.Module):
    """Attention to the same sequence or another's."""

    settings: Settings

    def setup(self) -> None:
        width = self.settings.width
        self.k_proj = self.settings.dense(width, bias=self.settings.key_bias)
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
        # The encoder's input may be of another dtype than the decoder's parameters, as a spectrogram is.
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


class Layer(nn.Module):
    """A layer of either side: self-attention, two dense layers, and residual connections."""

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        self.self_attn = Attention(settings)
        self.self_attn_layer_norm, self.final_layer_norm = settings.norm(), settings.norm()
        self.fc1, self.fc2 = settings.dense(settings.feed_forward), settings.dense(settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.activation_dropout = nn.Dropout(settings.activation_dropout)

    def _before(self, norm: nn.LayerNorm, x: jax.Array) -> jax.Array:
        """Returns the input of a part of the layer."""
        normal: jax.Array = norm(x) if self.settings.norm_first else x
        return normal

    def _after(self, norm: nn.LayerNorm, x: jax.Array, out: jax.Array, *, train: bool) -> jax.Array:
        """Adds the output of a part of the layer."""
        total: jax.Array = x + self.dropout(out, deterministic=not train)
        return total if self.settings.norm_first else norm(total)

    def _dense(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Applies the two dense layers."""
        normal = self._before(self.final_layer_norm, x)
        inner = ACTIVATIONS[self.settings.activation](self.fc1(normal))
        out = self.fc2(self.activation_dropout(inner, deterministic=not train))
        return self._after(self.final_layer_norm, x, out, train=train)


class EncoderLayer(Layer):
    """Attention, then two dense layers, each with a residual connection."""

    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool) -> jax.Array:
        """(batch, length, width), and a mask that broadcasts to (batch, heads, length, length) -> x."""
        normal = self._before(self.self_attn_layer_norm, x)
        out = self.self_attn(normal, self.self_attn.made(normal), mask=mask, train=train)
        x = self._after(self.self_attn_layer_norm, x, out, train=train)
        return finite(self._dense(x, train=train))


class DecoderLayer(Layer):
    """Causal attention, attention to the encoder's states, then two dense layers."""

    def setup(self) -> None:
        super().setup()
        self.encoder_attn, self.encoder_attn_layer_norm = Attention(self.settings), self.settings.norm()

    def cross(self, states: jax.Array) -> Cache:
        """Returns the keys and values of the encoder's (batch, length, width) states."""
        return self.encoder_attn.made(states)

    def __call__(
        self, x: jax.Array, step: Step, cache: Cache | None, cross: Cache | None
    ) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values of the tokens so far."""
        after = partial(self._after, train=step.train)
        normal = self._before(self.self_attn_layer_norm, x)
        made = self.self_attn.made(normal)
        made = made if cache is None else cache.written(made, step.column)
        out = self.self_attn(normal, made, mask=step.mask, is_causal=cache is None, train=step.train)
        x = after(self.self_attn_layer_norm, x, out)
        if cross is None:
            assert step.states is not None  # the model gives either
            cross = self.cross(step.states)
        normal = self._before(self.encoder_attn_layer_norm, x)
        out = self.encoder_attn(normal, cross, mask=step.states_mask, train=step.train)
        x = after(self.encoder_attn_layer_norm, x, out)
        return self._dense(x, train=step.train), made


def finite(x: jax.Array) -> jax.Array:
    """Returns float16 states without infinities, which those of some models are too large for."""
    if x.dtype != jnp.float16:
        return x
    most = jnp.finfo(x.dtype).max - 1000
    return jnp.clip(x, -most, most)
