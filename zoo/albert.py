"""Encoder of text whose layers share their parameters: ALBERT.

Lan et al., https://arxiv.org/abs/1909.11942. The layers are BERT's; the embeddings are smaller than states.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.attention import key_mask
from zoo._nn.layer_stack import LayerStack
from zoo._nn.options import check_options
from zoo._registry.family import ConfigFields
from zoo.bert import layers as bert
from zoo.bert.parts import Dropped, Plain, Pooled, Pooler, Sizes, Words
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
    (r"\.attention\.(self|output)\.", ".attention."),
    (r"\.intermediate\.dense\.", ".ffn."),
    (r"\.output\.dense\.", ".ffn_output."),
    (r"\.output\.LayerNorm\.", ".full_layer_layer_norm."),
    (r"^words\.", "predictions."),
    (r"^neck\.pooler\.dense\.", "pooler."),
)
_BASE = (r"^(base\.|(?=pooler\.))", "albert.")
TORCH_NAMES = {
    "transformers": (*_LAYERS, _BASE),
    "transformers_answers": ((r"^classifier\.", "qa_outputs."), *_LAYERS, _BASE),
    "transformers_pretraining": ((r"^classifier\.", "sop_classifier.classifier."), *_LAYERS, _BASE),
    "transformers_model": (*_LAYERS, (r"^base\.", "")),
}
IGNORED = {
    r"(.*\.)?position_ids": "positions, which are computed",
    r"(.*\.)?pooler\..*": "the pooler",
    r"predictions\..*": "the language model's head",
    r"sop_classifier\..*": "the head that tells the order of two texts",
    r"classifier\..*": "the head of a classifier",
    r"qa_outputs\..*": "the head that finds answers",
}
TIED = {
    "predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "predictions.decoder.bias": "predictions.bias",
}
TENSOR_PARALLEL = {
    "word_embeddings/embedding": ("model", None),
    "(query|key|value|intermediate/dense)/kernel": (None, "model"),
    "(query|key|value|intermediate/dense)/bias": ("model",),
    "output/dense/kernel": ("model", None),
}
_TIED = {"tie_word_embeddings": True}
CONFIG_FIELDS = {
    "albert": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "type_vocab_size": "token_types",
            "embedding_size": "embedding_width",
            "hidden_size": "width",
            "num_hidden_layers": "depth",
            "num_hidden_groups": "groups",
            "inner_group_num": "inner",
            "num_attention_heads": "heads",
            "intermediate_size": "feed_forward",
            "hidden_act": "activation",
            "layer_norm_eps": "epsilon",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
            "classifier_dropout_prob": "classifier_dropout",
        },
        heads={
            "AlbertModel": {"head": "pooler"},
            "AlbertForPreTraining": {"head": "pretraining"},
            "AlbertForMaskedLM": {"head": "masked_lm"},
            "AlbertForSequenceClassification": {"head": "classification"},
            "AlbertForTokenClassification": {"head": "token_classification"},
            "AlbertForQuestionAnswering": {"head": "question_answering"},
            "AlbertForMultipleChoice": {"head": "multiple_choice"},
        },
        fixed_for={"masked_lm": _TIED, "pretraining": _TIED},
        irrelevant=(
            "net_structure_type",
            "gap_size",
            "num_memory_blocks",
            "down_scale_factor",
        ),  # of the files that were converted from TensorFlow; transformers reads none of them
        layouts={
            "AlbertModel": "transformers_model",
            "AlbertForQuestionAnswering": "transformers_answers",
            "AlbertForPreTraining": "transformers_pretraining",
            "": "transformers",
        },
        defaults={"width": 4096, "heads": 64, "feed_forward": 16384},
        classifies=True,
        embeds=True,
    ),
}


class Settings(NamedTuple):
    """Sizes and options of ALBERT and its heads; those of zoo.bert.parts.Options have their names.

    Attributes:
        layers: Those of the layers.
        series: Number of layers that a text goes through, and how they run.
        sizes: Numbers of embeddings.
        embedding_width: Size of the embeddings.
        groups: Number of groups of layers whose parameters are their own.
        inner: Number of layers in a group.
        word_activation: Activation in the heads that give logits of tokens.
        classifier_dropout: Rate before the classifiers.
    """

    layers: bert.Settings
    series: LayerStack
    sizes: Sizes
    embedding_width: int
    groups: int
    inner: int
    word_activation: str
    classifier_dropout: float


class Group(nn.Module):
    """Layers that follow each other wherever the group is applied."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        # No dropout follows the second dense layer, although all else is BERT's.
        self.albert_layers = [bert.Layer(self.layers, drops_output=False) for _ in range(self.settings.inner)]

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        for layer in self.albert_layers:
            x = layer(x, mask, train=train)
        return x


class Encoder(nn.Module):
    """A dense layer from the embeddings to the states, and the groups, each applied several times."""

    settings: Settings
    layers: bert.Settings

    def setup(self) -> None:
        self.embedding_hidden_mapping_in = self.layers.dense(self.layers.width)
        self.albert_layer_groups = [Group(self.settings, self.layers) for _ in range(self.settings.groups)]

    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, embedding_width) -> (batch, length, width)."""
        series, groups = self.settings.series, self.settings.groups
        # In floating point, as transformers has it, where the groups do not divide the depth.
        order = [int(index / (series.depth / groups)) for index in range(series.depth)]
        return series.apply(
            [self.albert_layer_groups[group] for group in order],
            lambda group, x: group(x, mask, train=train),
            self.embedding_hidden_mapping_in(x),
        )


class Base(nn.Module):
    """Embeddings and the encoder."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings, layers = self.settings, self.settings.layers._replace(dtype=self.dtype)
        self.embeddings = bert.Embeddings(
            settings=layers._replace(width=settings.embedding_width),
            vocab_size=settings.sizes.vocab_size,
            max_length=settings.sizes.max_length,
            token_types=settings.sizes.token_types,
        )
        self.encoder = Encoder(settings, layers)

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
            positions = bert.positions(ids, self.settings.sizes.max_length)
        x = self.embeddings(ids, positions, types, train=train)
        states: jax.Array = self.encoder(x, key_mask(mask), train=train)
        return states

    def words(self) -> nn.Embed:
        """Returns the token embeddings."""
        found: nn.Embed = self.embeddings.word_embeddings
        return found


_PARTS = Parts(
    base=Base,
    words=Words,
    texts=Pooled,
    tokens=Dropped,
    answers=Plain,
    choices=Pooled,
    pairs=Pooled,
    pooler=Pooler,
)


def create(
    *,
    vocab_size: int = 30000,
    max_length: int = 512,
    token_types: int = 2,
    embedding_width: int = 128,
    width: int = 768,
    depth: int = 12,
    groups: int = 1,
    inner: int = 1,
    heads: int = 12,
    feed_forward: int = 3072,
    activation: str = "gelu_tanh",
    epsilon: float = 1e-12,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    classifier_dropout: float = 0.1,
    head: str = "pooler",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "mean",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> TextEncoder:
    """Builds an ALBERT; the defaults are albert-base's.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Number of position embeddings.
        token_types: Number of token type embeddings.
        embedding_width: Size of the embeddings.
        width: Size of the hidden states.
        depth: Number of times that states go through a group of layers.
        groups: Number of groups, which share the depth.
        inner: Number of layers in a group.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        dropout: Rate after the embeddings and after attention.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifiers.
        head: "none" gives states, "pooler" these and the pooled first one, "embedding" one vector a text,
            "masked_lm" logits of tokens, "pretraining" these and two of the order of two texts;
            "classification" and "token_classification" logits of classes, "question_answering" logits of an
            answer's start and end, "multiple_choice" one logit a choice.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        pooling: Reduction of states to an embedding, one of zoo.bert.POOLING, or several.
        projections: Dense layers after the pooling, each with `features`, `activation` and `use_bias`.
        normalize: If true, scales embeddings to length 1.
        remat: If true, recomputes a group's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head, pooling or activation, heads that do not divide the width, or more groups than
            the depth has places for.
    """
    check_options(("groups", groups, 0 < groups <= max(depth, 1), f"1 to {depth}, the depth"))
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
        series=LayerStack(depth, remat=remat),
        sizes=sizes,
        embedding_width=embedding_width,
        groups=groups,
        inner=inner,
        word_activation=activation,
        classifier_dropout=classifier_dropout,
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
