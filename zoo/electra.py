"""Encoder of text trained to tell which tokens a small generator replaced: ELECTRA, and that generator.

Clark et al., https://arxiv.org/abs/2003.10555. The layers are BERT's; the embeddings may be smaller.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn import layers as activations
from zoo._nn.attention import key_mask
from zoo._nn.layer_stack import LayerStack
from zoo._registry.family import ConfigFields
from zoo.bert import layers as bert
from zoo.bert.parts import Dropped, FirstToken, Options, Plain, Sizes, Words
from zoo.bert.text_encoder import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
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

_WORDS = ((r"^words\.bias$", "generator_lm_head.bias"), (r"^words\.", "generator_predictions."))
_NECKS = (
    (r"^neck\.summary\.", "sequence_summary.summary."),
    (r"^neck\.predictions\.", "discriminator_predictions."),
)
_TEXTS = (
    (r"^neck\.dense\.", "classifier.dense."),
    (r"^classifier\.(weight|bias)$", r"classifier.out_proj.\1"),
)
_BASE = (r"^base\.", "electra.")
_ANSWERS = (r"^classifier\.", "qa_outputs.")
TORCH_NAMES = {
    "transformers": (*_WORDS, *_NECKS, _BASE),
    "transformers_texts": (*_TEXTS, _BASE),
    "transformers_answers": (_ANSWERS, _BASE),
    "transformers_model": ((r"^base\.", ""),),
}
IGNORED = {
    r"(.*\.)?position_ids": "positions, which are computed",
    r"generator_(predictions|lm_head)\..*": "the generator's head",
    r"discriminator_predictions\..*": "the discriminator's head",
    r"(classifier|sequence_summary)\..*": "the head of a classifier",
    r"qa_outputs\..*": "the head that finds answers",
}
TIED = {"generator_lm_head.weight": "embeddings.word_embeddings.weight"}
TENSOR_PARALLEL = {
    "word_embeddings/embedding": ("model", None),
    "(query|key|value|intermediate/dense)/kernel": (None, "model"),
    "(query|key|value|intermediate/dense)/bias": ("model",),
    "output/dense/kernel": ("model", None),
}
_TIED = {"tie_word_embeddings": True}
CONFIG_FIELDS = {
    "electra": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "type_vocab_size": "token_types",
            "embedding_size": "embedding_width",
            "hidden_size": "width",
            "num_hidden_layers": "depth",
            "num_attention_heads": "heads",
            "intermediate_size": "feed_forward",
            "hidden_act": "activation",
            "layer_norm_eps": "epsilon",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
            "classifier_dropout": "classifier_dropout",
            "summary_last_dropout": "choice_dropout",
            "is_decoder": "causal",
        },
        heads={
            "ElectraModel": {"head": "none"},
            "ElectraForPreTraining": {"head": "replaced_tokens"},
            "ElectraForMaskedLM": {"head": "masked_lm"},
            "ElectraForCausalLM": {"head": "causal_lm"},
            "ElectraForSequenceClassification": {"head": "classification"},
            "ElectraForTokenClassification": {"head": "token_classification"},
            "ElectraForQuestionAnswering": {"head": "question_answering"},
            "ElectraForMultipleChoice": {"head": "multiple_choice"},
        },
        fixed_for={
            "masked_lm": _TIED,
            "causal_lm": _TIED,
            "multiple_choice": {
                "summary_type": "first",
                "summary_use_proj": True,
                "summary_activation": "gelu",
            },
        },
        irrelevant=("summary_type", "summary_use_proj", "summary_activation"),
        layouts={
            "ElectraModel": "transformers_model",
            "ElectraForSequenceClassification": "transformers_texts",
            "ElectraForQuestionAnswering": "transformers_answers",
            "": "transformers",
        },
        classifies=True,
        embeds=True,
    ),
}


class Base(nn.Module):
    """Embeddings, a dense layer where they have another size than the states, and the encoder."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings, layers = self.settings, self.settings.layers._replace(dtype=self.dtype)
        self.embeddings = bert.Embeddings(
            settings=layers._replace(width=settings.embedding_width),
            vocab_size=settings.sizes.vocab_size,
            max_length=settings.sizes.max_length,
            token_types=settings.sizes.token_types,
        )
        self.embeddings_project = layers.dense(layers.width)
        self.encoder = bert.Encoder(layers, settings.series)

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
        if self.settings.embedding_width != self.settings.layers.width:
            x = self.embeddings_project(x)
        states: jax.Array = self.encoder(x, key_mask(mask), train=train)
        return states

    def words(self) -> nn.Embed:
        """Returns the token embeddings."""
        found: nn.Embed = self.embeddings.word_embeddings
        return found


class Predictions(nn.Module):
    """Two dense layers to a logit for each token."""

    layers: bert.Settings

    def setup(self) -> None:
        self.dense = self.layers.dense(self.layers.width)
        self.dense_prediction = self.layers.dense(1)

    def __call__(self, states: jax.Array) -> jax.Array:
        """(batch, length, width) -> (batch, length)."""
        hidden = activations.ACTIVATIONS[self.layers.activation](self.dense(states))
        logits: jax.Array = self.dense_prediction(hidden)[..., 0]
        return logits


class Discriminator(nn.Module):
    """Logits of a token's having been replaced."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.predictions = Predictions(self.settings.layers._replace(dtype=self.dtype))

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, length)."""
        logits: jax.Array = self.predictions(states)
        return logits


class Choices(nn.Module):
    """Dense layer with a GELU over the first token's state, before a dropout."""

    settings: Options
    dtype: DTypeLike | None

    def setup(self) -> None:
        layers = self.settings.layers._replace(dtype=self.dtype)
        self.summary = layers.dense(layers.width)
        self.drop = nn.Dropout(self.settings.choice_dropout)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        x = nn.gelu(self.summary(states[:, 0]), approximate=False)
        out: jax.Array = self.drop(x, deterministic=not train)
        return out


_PARTS = Parts(
    base=Base,
    words=Words,
    texts=FirstToken,
    tokens=Dropped,
    answers=Plain,
    choices=Choices,
    replaced=Discriminator,
    causal=True,
)


def create(
    *,
    vocab_size: int = 30522,
    max_length: int = 512,
    token_types: int = 2,
    embedding_width: int = 128,
    width: int = 256,
    depth: int = 12,
    heads: int = 4,
    feed_forward: int = 1024,
    activation: str = "gelu",
    epsilon: float = 1e-12,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    classifier_dropout: float | None = None,
    choice_dropout: float = 0.1,
    causal: bool = False,
    head: str = "none",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "mean",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> TextEncoder:
    """Builds an ELECTRA; the defaults are electra-small's.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Number of position embeddings.
        token_types: Number of token type embeddings.
        embedding_width: Size of the embeddings.
        width: Size of the hidden states.
        depth: Number of layers.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        dropout: Rate after the embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifier; by default `dropout`.
        choice_dropout: Rate before the logit of a choice.
        causal: If true, a token attends only to itself and earlier ones, as in a decoder.
        head: "none" gives states, "embedding" one vector a text, "replaced_tokens" the discriminator's
            logits, "masked_lm" and "causal_lm" logits of tokens; "classification" and
            "token_classification" logits of classes, "question_answering" logits of an answer's start and
            end, "multiple_choice" one logit a choice.
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
    sizes = Sizes(vocab_size, max_length, token_types)
    settings = Options(
        layers=bert.settings(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=activation,
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
            causal=causal,
        ),
        series=LayerStack(depth, scan=scan, remat=remat),
        sizes=sizes,
        embedding_width=embedding_width,
        text_activation="gelu",
        word_activation="gelu",  # whatever that of the layers is
        classifier_dropout=dropout if classifier_dropout is None else classifier_dropout,
        choice_dropout=choice_dropout,
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
