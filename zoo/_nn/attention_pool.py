"""Pooling of a sequence by what a learned query attends to."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import attention
from zoo._nn.layers import ACTIVATIONS

_INIT = nn.initializers.truncated_normal(0.02)
_Dense = partial(nn.Dense, kernel_init=_INIT)


class _FeedForward(nn.Module):
    """Two dense layers."""

    width: int
    feed_forward: int
    activation: str
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.fc1 = _Dense(self.feed_forward, dtype=self.dtype)
        self.fc2 = _Dense(self.width, dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, width) -> the same shape."""
        out: jax.Array = self.fc2(ACTIVATIONS[self.activation](self.fc1(x)))
        return out


class AttentionPool(nn.Module):
    """One vector for a sequence: what a learned query attends to, then an MLP with a residual connection.

    Zhai et al., https://arxiv.org/abs/2106.04560, section 3.3; the head of SigLIP, with timm's names.
    It has no dropout there.
    """

    width: int
    heads: int
    feed_forward: int
    activation: str
    epsilon: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        width = self.width
        self.latent = self.param("latent", nn.initializers.truncated_normal(width**-0.5), (1, 1, width))
        self.q = _Dense(width, dtype=self.dtype)
        self.kv = _Dense(2 * width, dtype=self.dtype)
        self.proj = _Dense(width, dtype=self.dtype)
        self.norm = nn.LayerNorm(self.epsilon, use_fast_variance=False, dtype=self.dtype)
        self.mlp = _FeedForward(width, self.feed_forward, self.activation, self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        batch, length, width = x.shape
        query = jnp.broadcast_to(self.q(self.latent.astype(x.dtype)), (batch, 1, width))
        key, value = jnp.moveaxis(self.kv(x).reshape(batch, length, 2, self.heads, -1), 2, 0)
        out = attention(query.reshape(batch, 1, self.heads, -1), key, value).reshape(batch, width)
        out = self.proj(out)
        pooled: jax.Array = out + self.mlp(self.norm(out))
        return pooled
