"""The layers of T5; the attributes have the names of the Hub's files."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.caches import Cache, Caches
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.memory import Memory, for_blocks
from zoo._nn.relative_buckets import Buckets
from zoo._nn.seq2seq import finite


class Settings(NamedTuple):
    """Sizes and options that all blocks share."""

    width: int
    heads: int
    head_dim: int
    feed_forward: int
    activation: str
    gated: bool
    epsilon: float
    dropout: float
    buckets: Buckets
    own_positions: bool
    dtype: DTypeLike | None

    def norm(self) -> nn.RMSNorm:
        """Builds a norm, which neither subtracts a mean nor adds a bias."""
        return nn.RMSNorm(self.epsilon, self.dtype)

    def dense(self, features: int, std: float) -> nn.Dense:
        """Builds a dense layer whose weights begin with a standard deviation."""
        return nn.Dense(features, use_bias=False, dtype=self.dtype, kernel_init=nn.initializers.normal(std))

    def positions(self) -> nn.Embed:
        """Builds the numbers that are added to products of queries and keys, for each bucket and head."""
        init = nn.initializers.normal(self.width**-0.5)
        return nn.Embed(self.buckets.number, self.heads, self.dtype, embedding_init=init)


class Context(NamedTuple):
    """Arguments that are the same for every block.

    Attributes:
        buckets: (queries, keys), the bucket of each key's relative position.
        bias: (1, heads, queries, keys), to be added to the products; None where each block has its own.
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        is_causal: If true, tokens attend to those before them only.
        states: (batch, length, width), the encoder's; None where nothing reads them.
        states_mask: (batch, 1, 1, length), True for states to attend to; None keeps all.
        column: Column of the caches, if there are any, that the token goes to.
        train: If true, dropout is applied.
    """

    buckets: jax.Array
    bias: jax.Array | None
    mask: jax.Array | None
    is_causal: bool
    states: jax.Array | None
    states_mask: jax.Array | None
    column: jax.Array | int
    train: bool


def bias_of(positions: nn.Embed, buckets: jax.Array) -> jax.Array:
    """(queries, keys) buckets -> (1, heads, queries, keys)."""
    return positions(buckets).transpose(2, 0, 1)[None]


class Attention(nn.Module):
    """Attention whose products of queries and keys are not scaled: the initial weights are."""

    settings: Settings

    def setup(self) -> None:
        width, inner = self.settings.width, self.settings.heads * self.settings.head_dim
        self.q = self.settings.dense(inner, (width * self.settings.head_dim) ** -0.5)
        self.k = self.settings.dense(inner, width**-0.5)
        self.v = self.settings.dense(inner, width**-0.5)
        self.o = self.settings.dense(width, inner**-0.5)
        self.relative_attention_bias = self.settings.positions()
        self.dropout = nn.Dropout(self.settings.dropout)

    def projected(self, states: jax.Array | None) -> Cache:
        """(batch, length, width) -> keys and values."""
        assert states is not None
        return Cache(*(self._split(layer(states)).swapaxes(1, 2) for layer in (self.k, self.v)))

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], self.settings.heads, self.settings.head_dim)

    def __call__(
        self,
        x: jax.Array,
        cache: Cache,
        *,
        mask: jax.Array | None,
        bias: jax.Array | None = None,
        is_causal: bool = False,
        train: bool,
    ) -> jax.Array:
        """(batch, queries, width), with keys and values -> the same shape."""
        out = attention(
            self._split(self.q(x)),
            cache.keys.swapaxes(1, 2),
            cache.values.swapaxes(1, 2),
            mask=mask,
            is_causal=is_causal,
            scale=1.0,
            bias=bias,
            dropout=weights_dropout(self.dropout, train=train),
        )
        projected: jax.Array = self.o(out.reshape(*x.shape[:2], -1))
        return projected


class SelfAttentionLayer(nn.Module):
    """Self-attention with relative positions and a residual connection, pre-norm."""

    settings: Settings

    def setup(self) -> None:
        self.SelfAttention = Attention(self.settings)
        self.layer_norm = self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        attend, normed, bias = self.SelfAttention, self.layer_norm(x), context.bias
        if bias is None:
            bias = bias_of(attend.relative_attention_bias, context.buckets)
        made = attend.projected(normed)
        made = made if cache is None else cache.written(made, context.column)
        is_causal = context.is_causal and cache is None
        out = attend(normed, made, mask=context.mask, bias=bias, is_causal=is_causal, train=context.train)
        return x + self.dropout(out, deterministic=not context.train), made


class CrossAttentionLayer(nn.Module):
    """Attention to the encoder's states with a residual connection, pre-norm."""

    settings: Settings

    def setup(self) -> None:
        self.EncDecAttention = Attention(self.settings)
        self.layer_norm = self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, context: Context, memory: Cache | None) -> jax.Array:
        attend = self.EncDecAttention
        memory = attend.projected(context.states) if memory is None else memory
        out = attend(self.layer_norm(x), memory, mask=context.states_mask, train=context.train)
        dropped: jax.Array = self.dropout(out, deterministic=not context.train)
        return x + dropped


class DenseReluDense(nn.Module):
    """Two dense layers, or three: the activation of one is then multiplied by another."""

    settings: Settings

    def setup(self) -> None:
        wide = partial(self.settings.dense, self.settings.feed_forward, self.settings.width**-0.5)
        self.wi, self.wi_0, self.wi_1 = wide(), wide(), wide()
        self.wo = self.settings.dense(self.settings.width, self.settings.feed_forward**-0.5)
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        activation = ACTIVATIONS[self.settings.activation]
        x = activation(self.wi_0(x)) * self.wi_1(x) if self.settings.gated else activation(self.wi(x))
        out: jax.Array = self.wo(self.dropout(x, deterministic=not train))
        return out


class FeedForwardLayer(nn.Module):
    """Dense layers with a residual connection, pre-norm."""

    settings: Settings

    def setup(self) -> None:
        self.DenseReluDense = DenseReluDense(self.settings)
        self.layer_norm = self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        out: jax.Array = self.dropout(
            self.DenseReluDense(self.layer_norm(x), train=train), deterministic=not train
        )
        return x + out


class Block(nn.Module):
    """Self-attention, in a decoder attention to the encoder's states, and dense layers."""

    settings: Settings
    is_decoder: bool

    def setup(self) -> None:
        cross = [CrossAttentionLayer(self.settings)] if self.is_decoder else []
        self.layer = [SelfAttentionLayer(self.settings), *cross, FeedForwardLayer(self.settings)]

    def __call__(
        self, x: jax.Array, context: Context, cache: Cache | None, memory: Cache | None
    ) -> tuple[jax.Array, Cache]:
        x, made = self.layer[0](x, context, cache)
        x = finite(x)
        if self.is_decoder:
            x = finite(self.layer[1](x, context, memory))
        return finite(self.layer[-1](x, train=context.train)), made

    def remembered(self, states: jax.Array) -> Cache:
        """(batch, length, width) states of the encoder -> their keys and values."""
        found: Cache = self.layer[1].EncDecAttention.projected(states)
        return found


class Stack(nn.Module):
    """An encoder or a decoder: blocks and a norm."""

    settings: Settings
    series: LayerStack
    is_decoder: bool

    def setup(self) -> None:
        self.block = self.series.build(partial(Block, self.settings, is_decoder=self.is_decoder))
        self.relative_attention_bias = self.settings.positions()
        self.final_layer_norm = self.settings.norm()
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        *,
        states: jax.Array | None = None,
        states_mask: jax.Array | None = None,
        memory: Memory | None = None,
        caches: Caches | None = None,
        column: jax.Array | int = 0,
        train: bool = False,
    ) -> tuple[jax.Array, Caches]:
        """Returns the states after the last block, and each block's keys and values.

        Args:
            x: (batch, length, width); with caches, of one token.
            mask: (batch, 1, 1, length), True for tokens to attend to; of the caches' length with them.
            states: (batch, length, width), the encoder's, for a decoder without a memory.
            states_mask: (batch, 1, 1, length), True for states to attend to.
            memory: Result of `memory`, instead of both.
            caches: Those of the tokens before.
            column: Column of the caches that the token goes to.
            train: If true, dropout is applied.
        """
        queries = keys = jnp.arange(x.shape[1])
        if caches is not None:
            queries, keys = jnp.asarray(column)[None], jnp.arange(jax.tree.leaves(caches)[0].shape[-2])
        buckets = self.settings.buckets.of(queries, keys, both_sides=not self.is_decoder)
        own = self.settings.own_positions
        context = Context(
            buckets=buckets,
            bias=None if own else bias_of(self.relative_attention_bias, buckets),
            mask=mask,
            is_causal=self.is_decoder,
            states=states,
            states_mask=states_mask if memory is None else memory.mask,
            column=column,
            train=train,
        )
        x = self.dropout(x, deterministic=not train)
        each = for_blocks(self.series, caches, memory and memory.by_block(self.series))
        x, made = self.series.scan_with(self.block, lambda block, x, own: block(x, context, *own), x, each)
        return self.dropout(self.final_layer_norm(x), deterministic=not train), made

    def memory(self, states: jax.Array, mask: jax.Array | None) -> Memory:
        """(batch, length, width) states of the encoder -> what the blocks read of them."""
        return Memory.of(self.series, self.block, Block.remembered, states, mask)
