"""Decoder-only language model with learned positions: GPT-2.

Radford et al., https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf;
the attributes have the names of the Hub's files.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from converters.layers import Leaf, Row
from zoo._errors import ZooError
from zoo._layers import ACTIVATIONS, check_activation
from zoo._outputs import TextOutput
from zoo.transformer import attention, key_mask

TORCH_NAMES = {
    "transformers": ((r"^", "transformer."),),
    "transformers_model": (),  # GPT2Model, and openai-community/gpt2
}

HEADS = ("lm", "none")


class Conv1D(nn.Dense):
    """A dense layer whose kernel the files keep as Flax does, (in, out)."""

    torch_row: ClassVar[Row] = {"kernel": Leaf("weight"), "bias": Leaf("bias")}


class Cache(NamedTuple):
    """Keys and values of earlier tokens, each (batch, length, heads, head_dim)."""

    keys: jax.Array
    values: jax.Array


class Settings(NamedTuple):
    """What every block is made of."""

    depth: int
    width: int
    heads: int
    hidden: int
    activation: str
    epsilon: float
    dropout: float
    attention_dropout: float
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """A layer norm of the model."""
        return nn.LayerNorm(self.epsilon, self.dtype, use_fast_variance=False)

    def dense(self, features: int, parts: int = 1) -> Conv1D:
        """A dense layer; what is added to the states in `parts` begins smaller (section 2.3)."""
        return Conv1D(features, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02 / math.sqrt(parts)))


class Attention(nn.Module):
    """Each token attends to those before it and to itself."""

    settings: Settings

    def setup(self) -> None:
        self.c_attn = self.settings.dense(3 * self.settings.width)
        self.c_proj = self.settings.dense(self.settings.width, 2 * self.settings.depth)
        self.attn_dropout = nn.Dropout(self.settings.attention_dropout)
        self.resid_dropout = nn.Dropout(self.settings.dropout)

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, cache: Cache | None, *, train: bool
    ) -> tuple[jax.Array, Cache]:
        split = (*x.shape[:2], self.settings.heads, self.settings.width // self.settings.heads)
        query, key, value = (part.reshape(split) for part in jnp.split(self.c_attn(x), 3, axis=-1))
        if cache is not None and mask is not None:
            out = _attend_to_cache(query, key, value, cache, mask)
        else:
            dropout = partial(self.attn_dropout, deterministic=False) if train else None
            out = attention(query, key, value, mask=mask, is_causal=True, dropout=dropout)
        out = self.resid_dropout(self.c_proj(out.reshape(x.shape)), deterministic=not train)
        return out, Cache(key, value)


def _attend_to_cache(
    query: jax.Array, key: jax.Array, value: jax.Array, cache: Cache, mask: jax.Array
) -> jax.Array:
    """One new token attends to the cache, where the mask allows, and to itself.

    Apart, so that the cache is only read: adding the token to it before would copy it in each block.
    """
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    old = jnp.einsum("bqhd,bkhd->bhqk", query, cache.keys, preferred_element_type=dtype)
    new = jnp.einsum("bqhd,bqhd->bhq", query, key, preferred_element_type=dtype)
    logits = jnp.concatenate([jnp.where(mask, old, -jnp.inf), new[..., None]], axis=-1)
    weights = jax.nn.softmax(logits / math.sqrt(query.shape[-1])).astype(value.dtype)
    earlier = jnp.einsum("bhqk,bkhd->bqhd", weights[..., :-1], cache.values)
    return earlier + weights[..., -1].swapaxes(1, 2)[..., None] * value


class MLP(nn.Module):
    """Two dense layers."""

    settings: Settings

    def setup(self) -> None:
        self.c_fc = self.settings.dense(self.settings.hidden)
        self.c_proj = self.settings.dense(self.settings.width, 2 * self.settings.depth)
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.c_proj(ACTIVATIONS[self.settings.activation](self.c_fc(x)))
        out: jax.Array = self.dropout(x, deterministic=not train)
        return out


class Block(nn.Module):
    """Attention and dense layers, each behind a norm and added to what it was given."""

    settings: Settings

    def setup(self) -> None:
        self.ln_1, self.ln_2 = self.settings.norm(), self.settings.norm()
        self.attn = Attention(self.settings)
        self.mlp = MLP(self.settings)

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, cache: Cache | None, *, train: bool
    ) -> tuple[jax.Array, Cache]:
        out, made = self.attn(self.ln_1(x), mask, cache, train=train)
        x = x + out
        return x + self.mlp(self.ln_2(x), train=train), made


class GPT2(nn.Module):
    """Token and position embeddings, blocks, and a head that is the token embedding again."""

    vocab_size: int
    max_length: int
    settings: Settings
    embedding_dropout: float
    head: str
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        embed = partial(nn.Embed, features=settings.width, dtype=self.dtype)
        self.wte = embed(self.vocab_size, embedding_init=nn.initializers.normal(0.02))
        self.wpe = embed(self.max_length, embedding_init=nn.initializers.normal(0.02))
        self.drop = nn.Dropout(self.embedding_dropout)
        self.h = [Block(settings) for _ in range(settings.depth)]
        self.ln_f = settings.norm()

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> TextOutput:
        """(batch, length) token ids -> logits of the token after each, or states where the head is "none".

        Args:
            input_ids: (batch, length), of tokens.
            attention_mask: (batch, length), 1 for tokens to keep.
            position_ids: (batch, length); 0, 1, 2 ... by default.
            train: Whether to drop units out, by the RNG stream "dropout".
        """
        length = input_ids.shape[1]
        if length > self.max_length:
            raise ZooError(f"texts of {length} tokens; the model takes at most {self.max_length}.")
        positions = jnp.arange(length)[None] if position_ids is None else position_ids
        x, _ = self._states(input_ids, positions, key_mask(attention_mask), None, train)
        return (
            TextOutput(last_hidden_state=x) if self.head == "none" else TextOutput(logits=self.wte.attend(x))
        )

    def extend(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        mask: jax.Array,
        caches: Sequence[Cache] | None,
        last: jax.Array | int = 0,
    ) -> tuple[jax.Array, list[Cache]]:
        """What generation calls: a text from its beginning, or its next token behind the caches.

        Args:
            input_ids: (batch, length), or (batch, 1) with caches.
            position_ids: The same shape.
            mask: (batch, 1, 1, length), or of the caches' length.
            caches: One for each block.
            last: The index whose logits are wanted.

        Returns:
            (batch, vocab_size) logits, and the keys and values of input_ids for each block.
        """
        x, made = self._states(input_ids, position_ids, mask, caches, train=False)
        return self.wte.attend(jax.lax.dynamic_index_in_dim(x, last, 1, keepdims=False)), made

    def _states(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        mask: jax.Array | None,
        caches: Sequence[Cache] | None,
        train: bool,
    ) -> tuple[jax.Array, list[Cache]]:
        x = self.drop(self.wte(input_ids) + self.wpe(position_ids), deterministic=not train)
        made = []
        earlier: Sequence[Cache | None] = caches or [None] * self.settings.depth
        for block, cache in zip(self.h, earlier, strict=True):
            x, keys_and_values = block(x, mask, cache, train=train)
            made.append(keys_and_values)
        return self.ln_f(x), made


def create(
    *,
    vocab_size: int = 50257,
    max_length: int = 1024,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    hidden: int | None = None,
    activation: str = "gelu_tanh",
    epsilon: float = 1e-5,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    embedding_dropout: float = 0.1,
    head: str = "lm",
    dtype: DTypeLike | None = None,
) -> GPT2:
    """Builds a GPT-2; the defaults are the smallest of the four.

    Args:
        vocab_size: How many tokens there are.
        max_length: Of a text, in tokens.
        width: Of the states.
        depth: How many blocks.
        heads: Of the attention; they divide the width.
        hidden: Width between the two dense layers of a block; by default four times the width.
        activation: Between them.
        epsilon: Of the layer norms.
        dropout: Of what attention and dense layers add to the states.
        attention_dropout: Of the attention's weights.
        embedding_dropout: Of the embeddings.
        head: "lm", which tells the next token, or "none".
        dtype: To compute in.

    Raises:
        ZooError: no such head or activation, or heads that do not divide the width.
    """
    if head not in HEADS:
        raise ZooError(f"no head {head!r}; choose one of {', '.join(HEADS)}.")
    if width % heads:
        raise ZooError(f"{heads} heads do not divide a width of {width}.")
    hidden = hidden or 4 * width
    check_activation(activation)
    settings = Settings(depth, width, heads, hidden, activation, epsilon, dropout, attention_dropout, None)
    return GPT2(vocab_size, max_length, settings, embedding_dropout, head, dtype)
