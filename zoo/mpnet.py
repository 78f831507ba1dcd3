"""Encoder of text whose attention knows how far tokens are apart: MPNet.

Song et al., https://arxiv.org/abs/2004.09297. The layers are BERT's, with a number for each distance and head
added to the products of queries and keys.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import key_mask
from zoo._nn.layer_stack import LayerStack
from zoo._nn.relative_buckets import Buckets
from zoo._registry.family import ConfigFields
from zoo.bert import layers as bert
from zoo.bert.parts import Dropped, FirstToken, Options, Plain, Pooled, Pooler, Sizes, Words
from zoo.bert.text_encoder import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
    HEADLESS,
    NECK,
    TASKS,
    Parts,
    TextEncoder,
    inputs,
    max_tokens,
    text_encoder,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "HEADLESS",
    "IGNORED",
    "NECK",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "create",
    "inputs",
    "max_tokens",
]

_LAYERS = (
    (r"\.attention\.self\.(q|k|v)(uery|ey|alue)\.", r".attention.attn.\1."),
    (r"\.attention\.output\.dense\.", ".attention.attn.o."),
    (r"\.attention\.output\.", ".attention."),
    (r"^words\.LayerNorm\.", "lm_head.layer_norm."),
    (r"^words\.", "lm_head."),
    (r"^neck\.pooler\.", "pooler."),
)
_TEXTS = ((r"^classifier\.", "classifier.out_proj."), (r"^neck\.dense\.", "classifier.dense."))
_BASE = (r"^(base\.|(?=pooler\.))", "mpnet.")
TORCH_NAMES = {
    "transformers": (*_LAYERS, _BASE),
    "transformers_texts": (*_TEXTS, *_LAYERS, _BASE),
    "transformers_answers": ((r"^classifier\.", "qa_outputs."), *_LAYERS, _BASE),
    "transformers_model": (*_LAYERS, (r"^base\.", "")),
}
IGNORED = {
    r"(.*\.)?position_ids": "positions, which are computed",
    r"(.*\.)?pooler\..*": "the pooler",
    r"lm_head\..*": "the language model's head",
    r"classifier\..*": "the head of a classifier",
    r"qa_outputs\..*": "the head that finds answers",
}
TIED = {
    "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}
TENSOR_PARALLEL = {
    "word_embeddings/embedding": ("model", None),
    "(query|key|value|intermediate/dense)/kernel": (None, "model"),
    "(query|key|value|intermediate/dense)/bias": ("model",),
    "output/dense/kernel": ("model", None),
}
_BUCKETS, _PADDING = Buckets(32, 128), 1
CONFIG_FIELDS = {
    "mpnet": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "hidden_size": "width",
            "num_hidden_layers": "depth",
            "num_attention_heads": "heads",
            "intermediate_size": "feed_forward",
            "hidden_act": "activation",
            "layer_norm_eps": "epsilon",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
        },
        heads={
            "MPNetModel": {"head": "pooler"},
            "MPNetForMaskedLM": {"head": "masked_lm"},
            "MPNetForSequenceClassification": {"head": "classification"},
            "MPNetForTokenClassification": {"head": "token_classification"},
            "MPNetForQuestionAnswering": {"head": "question_answering"},
            "MPNetForMultipleChoice": {"head": "multiple_choice"},
        },
        fixed={"relative_attention_num_buckets": _BUCKETS.number},
        fixed_for={"masked_lm": {"tie_word_embeddings": True}},
        layouts={
            "MPNetModel": "transformers_model",
            "MPNetForSequenceClassification": "transformers_texts",
            "MPNetForQuestionAnswering": "transformers_answers",
            "": "transformers",
        },
        defaults={"max_length": 512, "epsilon": 1e-12},
        classifies=True,
        embeds=True,
    ),
}


class Encoder(nn.Module):
    """BERT's layers, which share the numbers that are added to their products of queries and keys."""

    layers: bert.Settings
    series: LayerStack

    def setup(self) -> None:
        self.relative_attention_bias = nn.Embed(
            _BUCKETS.number,
            self.layers.heads,
            self.layers.dtype,
            embedding_init=nn.initializers.normal(0.02),
        )
        self.layer = self.series.build(partial(bert.Layer, self.layers))

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        bias = self.relative_attention_bias(buckets(x.shape[1])).transpose(2, 0, 1)[None]
        return self.series.apply(self.layer, lambda layer, x: layer(x, mask, bias, train=train), x)


def buckets(length: int) -> jax.Array:
    """Returns (length, length) buckets of how far each key is from each query; those behind it have half."""
    columns = jnp.arange(length)
    return _BUCKETS.of(columns, columns, both_sides=True)


class Base(nn.Module):
    """Embeddings of tokens and positions, and the encoder."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings, layers = self.settings, self.settings.layers._replace(dtype=self.dtype)
        self.embeddings = bert.Embeddings(
            settings=layers,
            vocab_size=settings.sizes.vocab_size,
            max_length=settings.sizes.max_length,
            token_types=0,
        )
        self.encoder = Encoder(layers, settings.series)

    def __call__(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None,
        positions: jax.Array | None,
        *,
        train: bool,
    ) -> jax.Array:
        """(batch, length) token ids -> (batch, length, width) states of the last layer."""
        if positions is None:
            sizes = self.settings.sizes
            positions = bert.positions(ids, sizes.max_length - sizes.offset, padding=_PADDING)
        x = self.embeddings(ids, positions, None, train=train)
        states: jax.Array = self.encoder(x, key_mask(mask), train=train)
        return states

    def words(self) -> nn.Embed:
        """Returns the token embeddings."""
        found: nn.Embed = self.embeddings.word_embeddings
        return found


_PARTS = Parts(
    base=Base,
    words=Words,
    texts=FirstToken,
    tokens=Dropped,
    answers=Plain,
    choices=Pooled,
    pooler=Pooler,
)


def create(
    *,
    vocab_size: int = 30527,
    max_length: int = 514,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int = 3072,
    activation: str = "gelu",
    epsilon: float = 1e-5,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    head: str = "pooler",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "mean",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> TextEncoder:
    """Builds an MPNet; the defaults are mpnet-base's.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Number of position embeddings; a text has two tokens less at most.
        width: Size of the embeddings and hidden states.
        depth: Number of layers.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        dropout: Rate after the embeddings, before each residual connection and before classifiers.
        attention_dropout: Rate of the attention weights.
        head: "none" gives states, "pooler" these and the pooled first one, "embedding" one vector a text,
            "masked_lm" logits of tokens; "classification" and "token_classification" logits of classes,
            "question_answering" logits of an answer's start and end, "multiple_choice" one logit a choice.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        pooling: Reduction of states to an embedding, one of zoo.bert.POOLING, or several.
        projections: Dense layers after the pooling, each with `features`, `activation` and `use_bias`.
        normalize: If true, scales embeddings to length 1.
        scan: If true, runs the layers in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head, pooling or activation, or heads that do not divide the width.
    """
    sizes = Sizes(vocab_size, max_length, offset=_PADDING + 1)
    settings = Options(
        layers=bert.settings(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=activation,
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
        ),
        series=LayerStack(depth, scan=scan, remat=remat),
        sizes=sizes,
        embedding_width=width,
        text_activation="tanh",
        word_activation="gelu",  # whatever that of the layers is
        classifier_dropout=dropout,
        choice_dropout=dropout,
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
