"""Encoder of text that attends to contents and to relative positions apart: DeBERTa, versions 1 to 3.

He et al., https://arxiv.org/abs/2006.03654 and https://arxiv.org/abs/2111.09543.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._nn.options import check_choices, check_options
from zoo.bert import layers as bert
from zoo.bert.parts import Plain, Sizes, Words
from zoo.bert.text_encoder import Parts, TextEncoder, text_encoder
from zoo.deberta.layers import Base, Settings

TENSOR_PARALLEL = {
    "word_embeddings/embedding": ("model", None),
    "((query|key|value|in)_proj|intermediate/dense)/kernel": (None, "model"),
    "((query|key|value|in)_proj|intermediate/dense)/bias": ("model",),
    "output/dense/kernel": ("model", None),
}
POSITION_ATTENTION = ("c2p", "p2c")


class Texts(nn.Module):
    """Dense layer with an activation over the first token's state, between two dropouts."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        layers = self.settings.layers._replace(dtype=self.dtype)
        self.dense = layers.dense(layers.width)
        self.first = nn.Dropout(self.settings.pooler_dropout)
        self.second = nn.Dropout(self.settings.classifier_dropout)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        x = self.dense(self.first(states[:, 0], deterministic=not train))
        x = ACTIVATIONS[self.settings.pooler_activation](x)
        out: jax.Array = self.second(x, deterministic=not train)
        return out


class Tokens(nn.Module):
    """States after the dropout that all else has, too."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.drop = nn.Dropout(self.settings.layers.dropout)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        out: jax.Array = self.drop(states, deterministic=not train)
        return out


_PARTS = Parts(base=Base, words=Words, texts=Texts, tokens=Tokens, answers=Plain, choices=Texts)


def create(
    *,
    fused: bool = False,
    vocab_size: int = 128100,
    max_length: int = 512,
    token_types: int = 0,
    embedding_width: int | None = None,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int = 3072,
    activation: str = "gelu",
    epsilon: float = 1e-7,
    relative: bool = True,
    max_relative: int | None = None,
    buckets: int | None = 256,
    position_attention: Sequence[str] = ("p2c", "c2p"),
    shares_projections: bool = True,
    norm_relative: bool = True,
    adds_positions: bool = False,
    conv_size: int = 0,
    conv_groups: int = 1,
    conv_activation: str = "tanh",
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    classifier_dropout: float | None = None,
    pooler_dropout: float = 0.0,
    pooler_activation: str = "gelu",
    head: str = "none",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "mean",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> TextEncoder:
    """Builds a DeBERTa; the defaults are deberta-v3-base's.

    Args:
        fused: If true, a dense layer gives queries, keys and values together, as in version 1, whose relative
            positions have neither buckets nor projections of contents.
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest text of the training, in tokens, and number of position embeddings.
        token_types: Number of token type embeddings; 0 for none.
        embedding_width: Size of the embeddings; by default the width.
        width: Size of the hidden states.
        depth: Number of layers.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        relative: If true, there are embeddings of relative positions.
        max_relative: Distance from which on all are one, in tokens; by default `max_length`.
        buckets: Number of ranges of distances to either side; None for every distance on its own.
        position_attention: Products that attention adds, of POSITION_ATTENTION: contents with positions, and
            positions with contents.
        shares_projections: If true, positions are projected by the layers of queries and keys.
        norm_relative: If true, the embeddings of relative positions are normalized.
        adds_positions: If true, position embeddings are added to those of tokens.
        conv_size: Size of the convolution beside the first layer, in tokens, an odd number; 0 for none.
        conv_groups: Number of its groups.
        conv_activation: Name of the activation after it.
        dropout: Rate after the embeddings, before each residual connection and before a classifier of tokens.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifiers of texts and choices; by default `dropout`.
        pooler_dropout: Rate before the dense layer that they read.
        pooler_activation: Name of the activation after it.
        head: "none" gives states, "embedding" one vector a text, "masked_lm" logits of tokens;
            "classification" and "token_classification" logits of classes, "question_answering" logits of an
            answer's start and end, "multiple_choice" one logit a choice.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        pooling: Reduction of states to an embedding, one of zoo.bert.POOLING, or several.
        projections: Dense layers after the pooling, each with `features`, `activation` and `use_bias`.
        normalize: If true, scales embeddings to length 1.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head, pooling or activation, or options that do not go together.
    """
    kinds = tuple(position_attention)
    check_choices(**{f"position_attention[{i}]": (kind, POSITION_ATTENTION) for i, kind in enumerate(kinds)})
    longest = max_length if max_relative is None else max_relative
    check_options(
        ("conv_size", conv_size, conv_size % 2 or not conv_size, "an odd number, or 0 for none"),
        (
            "buckets",
            buckets,
            buckets is None or (not fused and buckets > 3 and buckets // 2 < longest - 1),
            f"None, or, of version 2 and 3, 4 or more and less than twice {longest}, the farthest distance",
        ),
    )
    sizes = Sizes(vocab_size, max_length, token_types)
    settings = Settings(
        layers=bert.settings(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=activation,
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
        ),
        sizes=sizes,
        embedding_width=width if embedding_width is None else embedding_width,
        depth=depth,
        fused=fused,
        relative=relative,
        max_relative=longest,
        buckets=buckets,
        position_attention=kinds,
        shares_projections=shares_projections,
        norm_relative=norm_relative,
        adds_positions=adds_positions,
        conv_size=conv_size,
        conv_groups=conv_groups,
        conv_activation=check_activation(conv_activation),
        word_activation=activation,
        pooler_activation=check_activation(pooler_activation),
        pooler_dropout=pooler_dropout,
        classifier_dropout=dropout if classifier_dropout is None else classifier_dropout,
        remat=remat,
    )
    return text_encoder(
        _PARTS,
        settings,
        sizes,
        head=head,
        num_classes=num_classes,
        pooling=pooling,
        projections=projections,
        normalize=normalize,
        dtype=dtype,
    )
