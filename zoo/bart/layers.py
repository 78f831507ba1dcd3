"""The two sides of BART, and its head of classes; the attributes have the names of the Hub's files."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._nn.caches import Caches
from zoo._nn.layer_stack import LayerStack
from zoo._nn.memory import Memory, for_blocks
from zoo._nn.seq2seq import DecoderLayer, EncoderLayer, Settings, Step

INIT = nn.initializers.normal(0.02)


class Embeddings(NamedTuple):
    """How ids become the first states; a side has its own.

    Attributes:
        vocab_size: Number of tokens.
        max_length: Longest text, in tokens.
        offset: Number of learned positions before the first token's.
        sinusoidal: If true, positions are computed, not learned.
        scaled: If true, embeddings of tokens are multiplied by the root of the width.
        normed: "sum" for a norm of tokens and positions together, "tokens" for one of tokens alone, or "".
    """

    vocab_size: int
    max_length: int
    offset: int
    sinusoidal: bool
    scaled: bool
    normed: str

    def tokens(self, width: int, dtype: DTypeLike | None) -> nn.Embed:
        """Builds the embedding of tokens."""
        return nn.Embed(self.vocab_size, width, dtype=dtype, embedding_init=INIT)

    def positions(self, width: int, dtype: DTypeLike | None) -> "nn.Embed | Sinusoids":
        """Builds the embedding of positions."""
        if self.sinusoidal:
            return Sinusoids(self.max_length, width)
        return nn.Embed(self.max_length + self.offset, width, dtype=dtype, embedding_init=INIT)


class Sinusoids(nn.Module):
    """Sines, then cosines, of ever longer waves; some files have them, and they are never trained."""

    length: int
    width: int

    def setup(self) -> None:
        self.weight = self.variable("constants", "weight", self._waves)

    def __call__(self, positions: jax.Array) -> jax.Array:
        """(...) positions -> (..., width)."""
        return jnp.take(self.weight.value, positions, axis=0)

    def _waves(self) -> jax.Array:
        rates = 10_000 ** -(2 * np.arange((self.width + 1) // 2) / self.width)
        angles = np.arange(self.length)[:, None] * rates
        waves = np.concatenate([np.sin(angles), np.cos(angles[:, : self.width // 2])], axis=1)
        return jnp.asarray(waves.astype(np.float32))


class Side(nn.Module):
    """Embeddings, layers and norms around them, as the encoder and the decoder both have them."""

    embeddings: Embeddings
    series: LayerStack
    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        self.embed_tokens = self.embeddings.tokens(settings.width, settings.dtype)
        self.embed_positions = self.embeddings.positions(settings.width, settings.dtype)
        self.layernorm_embedding, self.layer_norm = settings.norm(), settings.norm()
        self.dropout = nn.Dropout(settings.dropout)

    def _first(
        self, shared: nn.Embed | None, ids: jax.Array, positions: jax.Array, *, train: bool
    ) -> jax.Array:
        """Returns the first states of (batch, length) ids, whose embedding is shared or the side's own."""
        x = (self.embed_tokens if shared is None else shared)(ids)
        x = x * self.settings.width**0.5 if self.embeddings.scaled else x
        x = self.layernorm_embedding(x) if self.embeddings.normed == "tokens" else x
        x = x + self.embed_positions(positions + self.embeddings.offset).astype(x.dtype)
        x = self.layernorm_embedding(x) if self.embeddings.normed == "sum" else x
        out: jax.Array = self.dropout(x, deterministic=not train)
        return out

    def _last(self, x: jax.Array) -> jax.Array:
        """Returns the states after the last layer; where layers begin with norms, one closes them."""
        closed: jax.Array = self.layer_norm(x) if self.settings.norm_first else x
        return closed


class Encoder(Side):
    """Embeddings, and layers that see all tokens."""

    def setup(self) -> None:
        super().setup()
        self.layers = self.series.build(partial(EncoderLayer, self.settings))

    def __call__(
        self, shared: nn.Embed | None, ids: jax.Array, mask: jax.Array | None, *, train: bool
    ) -> jax.Array:
        """(batch, length) ids, and a (batch, 1, 1, length) mask -> (batch, length, width)."""
        x = self._first(shared, ids, jnp.arange(ids.shape[1])[None], train=train)
        return self._last(self.series.apply(self.layers, lambda layer, x: layer(x, mask, train=train), x))


class Decoder(Side):
    """Embeddings, and layers that see the tokens before, and the encoder's states."""

    def setup(self) -> None:
        super().setup()
        self.layers = self.series.build(partial(DecoderLayer, self.settings))

    def memory(self, states: jax.Array, mask: jax.Array | None) -> Memory:
        """(batch, length, width) states of the encoder -> what the layers read of them."""
        return Memory.of(self.series, self.layers, DecoderLayer.cross, states, mask)

    def __call__(
        self,
        shared: nn.Embed | None,
        ids: jax.Array,
        positions: jax.Array,
        step: Step,
        caches: Caches | None = None,
        memory: Memory | None = None,
    ) -> tuple[jax.Array, Caches]:
        """(batch, length) ids -> (batch, length, width), and the caches with these tokens."""
        x = self._first(shared, ids, positions, train=step.train)
        each = for_blocks(self.series, caches, memory and memory.by_block(self.series))
        x, made = self.series.scan_with(self.layers, lambda layer, x, own: layer(x, step, *own), x, each)
        return self._last(x), made


class ClassificationHead(nn.Module):
    """Two dense layers with tanh between them: (batch, width) -> (batch, num_classes) logits."""

    width: int
    num_classes: int
    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=INIT)
        self.dense, self.out_proj = dense(self.width), dense(self.num_classes)
        self.drop = nn.Dropout(self.dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        drop = partial(self.drop, deterministic=not train)
        logits: jax.Array = self.out_proj(drop(jnp.tanh(self.dense(drop(x)))))
        return logits
