"""BERT, https://arxiv.org/abs/1810.04805, written as a user of `converters` would write it.

Every layer is declared in `setup()` under the name that the Hub's files use.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


class Output(nn.Module):
    """End of BERT's blocks, behind attention and feed-forward: back to the width, add, normalise."""

    width: int

    def setup(self) -> None:
        self.dense = nn.Dense(self.width)
        self.LayerNorm = nn.LayerNorm(epsilon=1e-12, use_fast_variance=False)

    def __call__(self, x: jax.Array, before: jax.Array) -> jax.Array:
        return self.LayerNorm(self.dense(x) + before)


class SelfAttention(nn.Module):
    width: int
    heads: int

    def setup(self) -> None:
        self.query, self.key, self.value = (nn.Dense(self.width) for _ in range(3))

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        split = (*x.shape[:2], self.heads, self.width // self.heads)
        query, key, value = (layer(x).reshape(split) for layer in (self.query, self.key, self.value))
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(split[-1])
        weights = nn.softmax(jnp.where(mask[:, None, None], scores, -jnp.inf))
        return jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape)


class Attention(nn.Module):
    width: int
    heads: int

    def setup(self) -> None:
        self.self = SelfAttention(self.width, self.heads)
        self.output = Output(self.width)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        return self.output(self.self(x, mask), x)


class Intermediate(nn.Module):
    width: int

    def setup(self) -> None:
        self.dense = nn.Dense(self.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.gelu(self.dense(x), approximate=False)


class Layer(nn.Module):
    width: int
    heads: int

    def setup(self) -> None:
        self.attention = Attention(self.width, self.heads)
        self.intermediate = Intermediate(4 * self.width)
        self.output = Output(self.width)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Embeddings(nn.Module):
    width: int

    def setup(self) -> None:
        self.word_embeddings = nn.Embed(30522, self.width)
        self.position_embeddings = nn.Embed(512, self.width)
        self.token_type_embeddings = nn.Embed(2, self.width)
        self.LayerNorm = nn.LayerNorm(epsilon=1e-12, use_fast_variance=False)

    def __call__(self, ids: jax.Array, types: jax.Array) -> jax.Array:
        positions = self.position_embeddings(jnp.arange(ids.shape[1])[None])
        return self.LayerNorm(self.word_embeddings(ids) + self.token_type_embeddings(types) + positions)


class Encoder(nn.Module):
    width: int
    heads: int
    depth: int

    def setup(self) -> None:
        self.layer = [Layer(self.width, self.heads) for _ in range(self.depth)]

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nn.Module):
    width: int

    def setup(self) -> None:
        self.dense = nn.Dense(self.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(self.dense(x[:, 0]))


class Bert(nn.Module):
    """(batch, length) ids, mask and types -> (batch, length, width) states and (batch, width) pooled."""

    width: int = 384
    heads: int = 12
    depth: int = 6

    def setup(self) -> None:
        self.embeddings = Embeddings(self.width)
        self.encoder = Encoder(self.width, self.heads, self.depth)
        self.pooler = Pooler(self.width)

    def __call__(self, ids: jax.Array, mask: jax.Array, types: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = self.encoder(self.embeddings(ids, types), mask)
        return x, self.pooler(x)
