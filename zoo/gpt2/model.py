"""Decoder-only language model with learned positions: GPT-2.

Radford et al., https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf;
the attributes have the names of the Hub's files.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from converters.layers import Leaf, Row
from zoo._errors import ZooError
from zoo._nn.attention import attention, key_mask
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._nn.outputs import TextOutput

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "wte/embedding": ("model", None),
    "(c_attn|c_fc)/kernel": (None, "model"),
    "(c_attn|c_fc)/bias": ("model",),
    "c_proj/kernel": ("model", None),
}
TASKS = {"lm": "text-generation"}
END_TOKEN = "<|endoftext|>"
HEADS = ("lm", "none")


class Conv1D(nn.Dense):
    """A dense layer whose kernel the files keep as Flax does, (in, out)."""

    torch_row: ClassVar[Row] = {"kernel": Leaf("weight"), "bias": Leaf("bias")}


class Cache(NamedTuple):
    """Keys and values of the tokens so far, each (batch, heads, length, head_dim).

    XLA multiplies matrices of this order as they lie; it would copy others first.
    """

    keys: jax.Array
    values: jax.Array

    def written(self, new: "Cache", column: jax.Array | int) -> "Cache":
        """With the new token in that column."""
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=column, axis=2)
        return Cache(put(self.keys, new.keys), put(self.values, new.values))


Caches: TypeAlias = Sequence[Cache] | Cache


class Settings(NamedTuple):
    """What every block is made of."""

    series: LayerStack
    width: int
    heads: int
    feed_forward: int
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


class Context(NamedTuple):
    """What every block is told.

    Attributes:
        mask: True for tokens to attend to, broadcasts to (batch, heads, queries, keys).
        column: Of the caches, if any, where the token goes.
        train: Whether to drop units out.
    """

    mask: jax.Array | None
    column: jax.Array | int
    train: bool


class Attention(nn.Module):
    """Each token attends to those before it and to itself."""

    settings: Settings

    def setup(self) -> None:
        self.c_attn = self.settings.dense(3 * self.settings.width)
        self.c_proj = self.settings.dense(self.settings.width, 2 * self.settings.series.depth)
        self.attn_dropout = nn.Dropout(self.settings.attention_dropout)
        self.resid_dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        split = (*x.shape[:2], self.settings.heads, self.settings.width // self.settings.heads)
        parts = jnp.split(self.c_attn(x), 3, axis=-1)
        query, key, value = (part.reshape(split) for part in parts)
        made = Cache(key.swapaxes(1, 2), value.swapaxes(1, 2))
        if cache is not None:
            made = cache.written(made, context.column)
        out = attention(
            query,
            made.keys.swapaxes(1, 2),
            made.values.swapaxes(1, 2),
            mask=context.mask,
            is_causal=cache is None,
            dropout=partial(self.attn_dropout, deterministic=False) if context.train else None,
        )
        out = self.resid_dropout(self.c_proj(out.reshape(x.shape)), deterministic=not context.train)
        return out, made


class MLP(nn.Module):
    """Two dense layers."""

    settings: Settings

    def setup(self) -> None:
        self.c_fc = self.settings.dense(self.settings.feed_forward)
        self.c_proj = self.settings.dense(self.settings.width, 2 * self.settings.series.depth)
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

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        out, made = self.attn(self.ln_1(x), context, cache)
        x = x + out
        return x + self.mlp(self.ln_2(x), train=context.train), made


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
        self.h = settings.series.build(partial(Block, settings))
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
        context = Context(key_mask(attention_mask), 0, train)
        x, _ = self._states(input_ids, positions, context, None)
        return (
            TextOutput(last_hidden_state=x) if self.head == "none" else TextOutput(logits=self.wte.attend(x))
        )

    def extend(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        mask: jax.Array,
        caches: Caches | None,
        last: jax.Array,
    ) -> tuple[jax.Array, Caches]:
        """What generation calls: texts from their beginning, or one more token of each.

        Args:
            input_ids: (batch, length), or (batch, 1) with caches.
            position_ids: The same shape.
            mask: (batch, 1, 1, length), or of the caches' length.
            caches: One for each block; with scan one, whose arrays have the blocks for a first axis.
            last: The index of the last token: whose logits are wanted, and where it goes in the caches.

        Returns:
            (batch, vocab_size) logits, and the caches with the tokens.
        """
        x, made = self._states(input_ids, position_ids, Context(mask, last, train=False), caches)
        index = last if caches is None else 0
        return self.wte.attend(jax.lax.dynamic_index_in_dim(x, index, 1, keepdims=False)), made

    def _states(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        context: Context,
        caches: Caches | None,
    ) -> tuple[jax.Array, Caches]:
        x = self.wte(input_ids) + self.wpe(position_ids)
        x = self.drop(x, deterministic=not context.train)
        x, made = self.settings.series.scan_with(
            self.h, lambda block, x, cache: block(x, context, cache), x, caches
        )
        return self.ln_f(x), made


def create(
    *,
    vocab_size: int = 50257,
    max_length: int = 1024,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int | None = None,
    activation: str = "gelu_tanh",
    epsilon: float = 1e-5,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    embedding_dropout: float = 0.1,
    head: str = "lm",
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> GPT2:
    """Builds a GPT-2; the defaults are the smallest of the four.

    Args:
        vocab_size: How many tokens there are.
        max_length: Of a text, in tokens.
        width: Of the states.
        depth: How many blocks.
        heads: Of the attention; they divide the width.
        feed_forward: Width between the two dense layers of a block; by default four times the width.
        activation: Between them.
        epsilon: Of the layer norms.
        dropout: Of what attention and dense layers add to the states.
        attention_dropout: Of the attention's weights.
        embedding_dropout: Of the embeddings.
        head: "lm", which tells the next token, or "none".
        scan: Whether the blocks are one in a loop, whose arrays are stacked: deep models compile sooner, and
            generate more slowly.
        remat: Whether gradients compute what is in a block anew instead of keeping it, for less memory.
        dtype: To compute in.

    Raises:
        ZooError: no such head or activation, or heads that do not divide the width.
    """
    if head not in HEADS:
        raise ZooError(f"no head {head!r}; choose one of {', '.join(HEADS)}.")
    if width % heads:
        raise ZooError(f"{heads} heads do not divide a width of {width}.")
    feed_forward = feed_forward or 4 * width
    check_activation(activation)
    rates = (dropout, attention_dropout)
    settings = Settings(
        LayerStack(depth, scan, remat), width, heads, feed_forward, activation, epsilon, *rates, None
    )
    return GPT2(vocab_size, max_length, settings, embedding_dropout, head, dtype)
