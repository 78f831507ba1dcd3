"""The original Transformer: encoder and decoder, for translation.

Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.typing import DTypeLike

from converters.matching import Fuse
from zoo._errors import ZooError
from zoo._nn.attention import attention, key_mask, weights_dropout
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._nn.tokens import like_ids, token_ids

# torch.nn.Transformer's names below `transformer`; it packs the three projections of an attention. Embeddings
# and head, which it lacks, have the names of PyTorch's tutorial "Language Translation with nn.Transformer".
TORCH_NAMES = {
    "torch": (
        (r"^(encoder|decoder)\.", r"transformer.\1."),
        (r"_tok_emb\.", "_tok_emb.embedding."),
        Fuse("*.in_proj_weight", ("*.q_proj.weight", "*.k_proj.weight", "*.v_proj.weight")),
        Fuse("*.in_proj_bias", ("*.q_proj.bias", "*.k_proj.bias", "*.v_proj.bias")),
    ),
}

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "(src|tgt)_tok_emb/embedding": ("model", None),
    "([qkv]_proj|linear1|generator)/kernel": (None, "model"),
    "([qkv]_proj|linear1|generator)/bias": ("model",),
    "(out_proj|linear2)/kernel": ("model", None),
}

Dense = partial(nn.Dense, kernel_init=nn.initializers.xavier_uniform())
LayerNorm = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)


def positions(length: int, width: int) -> np.ndarray:
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

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def __call__(
        self,
        x: jax.Array,
        other: jax.Array,
        mask: jax.Array | None = None,
        *,
        is_causal: bool = False,
        train: bool = False,
    ) -> jax.Array:
        """(batch, queries, width) and (batch, keys, width) -> (batch, queries, width)."""
        query, key, value = map(self._split, (self.q_proj(x), self.k_proj(other), self.v_proj(other)))
        dropout = weights_dropout(self.weights_dropout, train=train)
        out = attention(query, key, value, mask=mask, is_causal=is_causal, dropout=dropout)
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

    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        memory: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """(batch, length, width) -> the same shape; a decoder's positions attend to none after them."""
        activation = ACTIVATIONS[self.sizes.activation]
        drop = partial(self.drop, deterministic=not train)

        def residual(x: jax.Array, part: Callable[[jax.Array], jax.Array], norm: nn.LayerNorm) -> jax.Array:
            out: jax.Array = x + drop(part(norm(x))) if self.sizes.norm_first else norm(x + drop(part(x)))
            return out

        x = residual(
            x, lambda x: self.self_attn(x, x, mask, is_causal=self.is_decoder, train=train), self.norm1
        )
        if memory is not None:
            x = residual(x, lambda x: self.multihead_attn(x, memory, memory_mask, train=train), self.norm2)
        last = self.norm2 if memory is None else self.norm3
        return residual(x, lambda x: self.linear2(drop(activation(self.linear1(x)))), last)


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

    def __call__(self, x: jax.Array, *others: jax.Array | None, train: bool = False) -> jax.Array:
        """(batch, length, width) -> the same shape; `others` are a layer's further arguments."""
        x = self.series.apply(self.layers, lambda layer, x: layer(x, *others, train=train), x)
        out: jax.Array = self.norm(x)
        return out


class Transformer(nn.Module):
    """Predicts the next token of the target from the source and the target so far."""

    source_vocab_size: int
    target_vocab_size: int
    encoder_series: LayerStack
    decoder_series: LayerStack
    sizes: Sizes
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        width, dtype = self.sizes.width, self.dtype
        init = nn.initializers.normal(1 / math.sqrt(width))
        self.src_tok_emb = nn.Embed(self.source_vocab_size, width, dtype=dtype, embedding_init=init)
        self.tgt_tok_emb = nn.Embed(self.target_vocab_size, width, dtype=dtype, embedding_init=init)
        stack = partial(Stack, sizes=self.sizes, dtype=dtype)
        self.encoder = stack(series=self.encoder_series, is_decoder=False)
        self.decoder = stack(series=self.decoder_series, is_decoder=True)
        self.generator = Dense(self.target_vocab_size, dtype=dtype)
        self.drop = nn.Dropout(self.sizes.dropout)

    def _embed(self, embedding: nn.Embed, ids: jax.Array, train: bool) -> jax.Array:
        x = math.sqrt(self.sizes.width) * embedding(ids)
        x = x + positions(ids.shape[1], self.sizes.width).astype(x.dtype)
        out: jax.Array = self.drop(x, deterministic=not train)
        return out

    def __call__(
        self,
        source_ids: jax.Array,
        target_ids: jax.Array,
        source_mask: jax.Array | None = None,
        target_mask: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """(batch, source) and (batch, target) token ids -> (batch, target, target_vocab_size) logits.

        The masks have the shapes of the ids, with 1 for tokens to keep.

        Raises:
            ZooError: arrays of other shapes, or, unless it is compiled, an id that the model lacks.
        """
        source_ids = token_ids(source_ids, self.source_vocab_size, name="source_ids")
        target_ids = token_ids(target_ids, self.target_vocab_size, name="target_ids")
        if source_ids.shape[0] != target_ids.shape[0]:
            raise ZooError(
                f"source_ids of shape {source_ids.shape} and target_ids of shape {target_ids.shape}; "
                "expected as many texts in both."
            )
        visible = key_mask(like_ids(source_mask, source_ids, "source_mask", of="source_ids"))
        target_mask = like_ids(target_mask, target_ids, "target_mask", of="target_ids")
        memory = self.encoder(self._embed(self.src_tok_emb, source_ids, train), visible, train=train)
        target = self._embed(self.tgt_tok_emb, target_ids, train)
        logits: jax.Array = self.generator(
            self.decoder(target, key_mask(target_mask), memory, visible, train=train)
        )
        return logits


def create(
    *,
    source_vocab_size: int = 37000,
    target_vocab_size: int = 37000,
    width: int = 512,
    heads: int = 8,
    encoder_layers: int = 6,
    decoder_layers: int = 6,
    feed_forward: int = 2048,
    activation: str = "relu",
    norm_first: bool = False,
    dropout: float = 0.1,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Transformer:
    """Builds a Transformer; the defaults are the paper's base model, with two embeddings and a head apart.

    Args:
        source_vocab_size: Number of tokens in the source's vocabulary.
        target_vocab_size: Number of tokens in the target's vocabulary.
        width: Size of the embeddings and hidden states (d_model); even.
        heads: Number of attention heads; divides the width.
        encoder_layers: Number of layers in the encoder.
        decoder_layers: Number of layers in the decoder.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them, one of ACTIVATIONS.
        norm_first: If true, normalizes a part's input (pre-norm) instead of the sum after it (post-norm).
        dropout: Rate of all dropout, that of attention weights included.
        scan: If true, runs the layers in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: the heads cannot share the width, or no such activation.
    """
    if width % 2 or width % heads:
        raise ZooError(f"width={width}: expected an even number that {heads} heads can share.")
    return Transformer(
        source_vocab_size=source_vocab_size,
        target_vocab_size=target_vocab_size,
        encoder_series=LayerStack(encoder_layers, scan=scan, remat=remat),
        decoder_series=LayerStack(decoder_layers, scan=scan, remat=remat),
        sizes=Sizes(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=check_activation(activation),
            norm_first=norm_first,
            dropout=dropout,
        ),
        dtype=dtype,
    )
