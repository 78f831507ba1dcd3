"""The layers of the original Transformer."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.caches import Cache, Caches
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.memory import Memory, for_blocks
from zoo._nn.seq2seq import Step

Dense = partial(nn.Dense, kernel_init=nn.initializers.xavier_uniform())
LayerNorm = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)


def sinusoids(length: int, width: int) -> np.ndarray:
    """(length, width) sines, and cosines in the odd columns, of ever longer waves (section 3.5)."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width)


class MultiHeadAttention(nn.Module):
    """Queries from one sequence, keys and values from the same or from another (section 3.2.2)."""

    width: int
    heads: int
    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.q_proj = Dense(self.width, dtype=self.dtype)
        self.k_proj = Dense(self.width, dtype=self.dtype)
        self.v_proj = Dense(self.width, dtype=self.dtype)
        self.out_proj = Dense(self.width, dtype=self.dtype)
        self.weights_dropout = nn.Dropout(self.dropout)

    def made(self, x: jax.Array) -> Cache:
        """(batch, length, width) -> its keys and values."""
        return Cache(*(self._split(layer(x)).swapaxes(1, 2) for layer in (self.k_proj, self.v_proj)))

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def __call__(
        self,
        x: jax.Array,
        cache: Cache,
        mask: jax.Array | None = None,
        *,
        is_causal: bool = False,
        train: bool = False,
    ) -> jax.Array:
        """(batch, queries, width), and keys and values -> (batch, queries, width)."""
        dropout = weights_dropout(self.weights_dropout, train=train)
        keys, values = (each.swapaxes(1, 2) for each in cache)
        query = self._split(self.q_proj(x))
        out = attention(query, keys, values, mask=mask, is_causal=is_causal, dropout=dropout)
        return self.out_proj(out.reshape(x.shape))


class Sizes(NamedTuple):
    """Sizes and options that all layers share."""

    width: int
    heads: int
    feed_forward: int
    activation: str
    norm_first: bool
    dropout: float


class Layer(nn.Module):
    """Self-attention, in a decoder also attention to the encoder's output, and two dense layers.

    Each has a residual connection, followed by a norm; with `norm_first` the norm is of the part's input.
    """

    sizes: Sizes
    is_decoder: bool
    dtype: DTypeLike | None

    def setup(self) -> None:
        width, heads, feed_forward, _, _, dropout = self.sizes
        dtype = self.dtype
        attention = partial(MultiHeadAttention, width=width, heads=heads, dropout=dropout, dtype=dtype)
        self.self_attn = attention()
        self.multihead_attn = attention()
        self.linear1 = Dense(feed_forward, dtype=dtype)
        self.linear2 = Dense(width, dtype=dtype)
        self.norm1 = LayerNorm(dtype=dtype)
        self.norm2 = LayerNorm(dtype=dtype)
        self.norm3 = LayerNorm(dtype=dtype)
        self.drop = nn.Dropout(dropout)

    def cross(self, states: jax.Array) -> Cache:
        """Returns the keys and values of the encoder's (batch, length, width) states."""
        return self.multihead_attn.made(states)

    def __call__(
        self, x: jax.Array, step: Step, cache: Cache | None = None, cross: Cache | None = None
    ) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values of the tokens so far.

        A decoder's positions attend to none after them.
        """
        train, activation = step.train, ACTIVATIONS[self.sizes.activation]
        drop = partial(self.drop, deterministic=not train)

        def before(norm: nn.LayerNorm, x: jax.Array) -> jax.Array:
            normal: jax.Array = norm(x) if self.sizes.norm_first else x
            return normal

        def after(norm: nn.LayerNorm, x: jax.Array, out: jax.Array) -> jax.Array:
            total: jax.Array = x + drop(out)
            return total if self.sizes.norm_first else norm(total)

        normal = before(self.norm1, x)
        made = self.self_attn.made(normal)
        made = made if cache is None else cache.written(made, step.column)
        is_causal = self.is_decoder and cache is None
        x = after(self.norm1, x, self.self_attn(normal, made, step.mask, is_causal=is_causal, train=train))
        if self.is_decoder:
            if cross is None:
                assert step.states is not None  # the model gives either
                cross = self.cross(step.states)
            normal = before(self.norm2, x)
            x = after(self.norm2, x, self.multihead_attn(normal, cross, step.states_mask, train=train))
        last = self.norm3 if self.is_decoder else self.norm2
        out = self.linear2(drop(activation(self.linear1(before(last, x)))))
        return after(last, x, out), made


class Stack(nn.Module):
    """A stack of layers and a norm: torch.nn.TransformerEncoder or torch.nn.TransformerDecoder."""

    series: LayerStack
    sizes: Sizes
    is_decoder: bool
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.layers = self.series.build(
            partial(Layer, self.sizes, is_decoder=self.is_decoder, dtype=self.dtype)
        )
        self.norm = LayerNorm(dtype=self.dtype)

    def memory(self, states: jax.Array, mask: jax.Array | None) -> Memory:
        """(batch, length, width) states of the encoder -> what the layers of a decoder read of them."""
        return Memory.of(self.series, self.layers, Layer.cross, states, mask)

    def __call__(
        self, x: jax.Array, step: Step, caches: Caches | None = None, memory: Memory | None = None
    ) -> tuple[jax.Array, Caches]:
        """(batch, length, width) -> the same shape, and the caches with these tokens."""
        each = for_blocks(self.series, caches, memory and memory.by_block(self.series))
        x, made = self.series.scan_with(self.layers, lambda layer, x, own: layer(x, step, *own), x, each)
        return self.norm(x), made
