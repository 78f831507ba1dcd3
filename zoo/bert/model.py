"""Encoders of text: BERT, RoBERTa, DistilBERT, and the embeddings of sentences that are made with them.

Devlin et al., https://arxiv.org/abs/1810.04805; Liu et al., https://arxiv.org/abs/1907.11692; Sanh et al.,
https://arxiv.org/abs/1910.01108; Reimers and Gurevych, https://arxiv.org/abs/1908.10084 (section 3). The
attributes have the names of the Hub's files of BERT.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import key_mask
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.options import check_choices
from zoo._nn.outputs import TextOutput
from zoo._nn.text_pooling import (
    Pooling,
    Projection,
    checked_pooling,
    checked_projections,
    embedding,
)
from zoo._nn.tokens import flattened, like_ids, token_ids
from zoo._registry.entry import Input
from zoo.bert.heads import Pooler, PretrainingHeads
from zoo.bert.layers import Embeddings, Encoder, Settings
from zoo.bert.layers import positions as token_positions
from zoo.bert.layers import settings as checked_settings

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "word_embeddings/embedding": ("model", None),
    "(query|key|value|intermediate/dense)/kernel": (None, "model"),
    "(query|key|value|intermediate/dense)/bias": ("model",),
    "output/dense/kernel": ("model", None),
}
HEAD, NECK = ("classifier",), ("pooler", "pre_classifier")
HEADLESS = {"pooler": (r"(.*\.)?pooler\..*", "none")}
CLASSIFIER = {"head": "classification"}
CLASSIFYING = ("classification", "token_classification")
TASKS = {
    "masked_lm": "fill-mask",
    "causal_lm": "text-generation",
    "pretraining": "fill-mask",
    "classification": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
    "multiple_choice": "multiple-choice",
    "embedding": "sentence-similarity",
}
LANGUAGE = ("masked_lm", "causal_lm")
BERT_ONLY = ("next_sentence", "pretraining")
HEADS = (
    "none",
    "pooler",
    *LANGUAGE,
    *BERT_ONLY,
    *CLASSIFYING,
    "question_answering",
    "multiple_choice",
    "embedding",
)


class Variant(NamedTuple):
    """Differences between BERT, RoBERTa and DistilBERT, apart from sizes.

    Attributes:
        offset: If true, positions begin behind the padding token's id, which is padding's position.
        pools: If true, classifiers read the pooler's output; else that of a dense layer of their own.
        activation: Activation after that dense layer.
        drops: If true, dropout precedes that dense layer.
        drops_attention: If true, dropout follows the attention's output layer.
        plain_dropout: Heads before which the rate is that of the encoder's dropout, not the classifier's.
    """

    offset: bool = False
    pools: bool = False
    activation: str = "tanh"
    drops: bool = False
    drops_attention: bool = True
    plain_dropout: tuple[str, ...] = ()


VARIANTS = {
    "bert": Variant(pools=True),
    "roberta": Variant(offset=True, drops=True, plain_dropout=("multiple_choice",)),
    "distilbert": Variant(activation="relu", drops_attention=False, plain_dropout=("token_classification",)),
}


class Bert(nn.Module):
    """Embeddings, an encoder and one of HEADS."""

    vocab_size: int
    max_length: int
    token_types: int
    task_types: int
    series: LayerStack
    settings: Settings
    variant: str
    pad_token_id: int
    head: str
    num_classes: int
    classifier_dropout: float
    answer_dropout: float
    pooling: Pooling
    projections_of: tuple[Projection, ...]
    normalize: bool
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings, variant = self.settings._replace(dtype=self.dtype), VARIANTS[self.variant]
        self.embeddings = Embeddings(
            settings=settings,
            vocab_size=self.vocab_size,
            max_length=self.max_length,
            token_types=self.token_types,
            task_types=self.task_types,
        )
        self.encoder = Encoder(settings, self.series, drops_attention=variant.drops_attention)
        self.pooler = Pooler(settings)
        # RoBERTa's has the exact GELU whatever the activation of the layers is.
        activation = "gelu" if self.variant == "roberta" else settings.activation
        self.cls = PretrainingHeads(settings, self.vocab_size, activation)
        self.pre_classifier = settings.dense(settings.width)
        self.classifier = settings.dense(1 if self.head == "multiple_choice" else self.num_classes)
        self.qa_outputs = settings.dense(2)
        plain = self.head in variant.plain_dropout
        self.dropout = nn.Dropout(settings.dropout if plain else self.classifier_dropout)
        self.qa_dropout = nn.Dropout(self.answer_dropout)
        self.projections = [
            nn.Dense(each.features, use_bias=each.use_bias, dtype=self.dtype) for each in self.projections_of
        ]

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> TextOutput:
        """(batch, length) token ids -> the outputs of the head.

        With the head "multiple_choice" all arguments are (batch, choices, length).

        Args:
            input_ids: (batch, length) token ids.
            attention_mask: (batch, length), 1 for tokens to keep and 0 for padding.
            token_type_ids: (batch, length), the text of a pair that a token belongs to; by default the first.
            position_ids: (batch, length) positions; by default 0, 1, 2 ..., offset as RoBERTa's are.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too long a text, another shape, or, unless it is compiled, an id that the model lacks.
        """
        axes = 3 if self.head == "multiple_choice" else 2
        ids = token_ids(input_ids, self.vocab_size, axes=axes)
        mask = like_ids(attention_mask, ids, "attention_mask")
        if token_type_ids is not None and not self.token_types:
            raise ZooError(f"{self.variant} has no token types; leave token_type_ids out.")
        types, positions = (
            like_ids(each if each is None else token_ids(each, count, name=name, axes=axes), ids, name)
            for name, each, count in (
                ("token_type_ids", token_type_ids, self.token_types),
                ("position_ids", position_ids, self.max_length),
            )
        )
        shape = ids.shape
        ids, mask = ids.reshape(-1, shape[-1]), flattened(mask, shape)
        x = self._encoded(ids, mask, flattened(types, shape), flattened(positions, shape), train=train)
        if axes == 3:
            return TextOutput(logits=self._classify(x, train=train).reshape(shape[:2]))
        return self._outputs(x, mask, train=train)

    def _encoded(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None,
        positions: jax.Array | None,
        *,
        train: bool,
    ) -> jax.Array:
        """Returns the states of the last layer."""
        if positions is None:
            padding = self.pad_token_id if VARIANTS[self.variant].offset else None
            positions = token_positions(ids, max_tokens(self), padding=padding)
        x = self.embeddings(ids, positions, types, train=train)
        states: jax.Array = self.encoder(x, key_mask(mask), train=train)
        return states

    def _outputs(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> TextOutput:
        """Returns what the head makes of the states."""
        head, words = self.head, self.embeddings.word_embeddings
        if head in LANGUAGE:
            return TextOutput(logits=self.cls(states, words))
        if head == "pretraining":
            return TextOutput(
                prediction_logits=self.cls(states, words),
                seq_relationship_logits=self.cls.relationship(self.pooler(states)),
            )
        if head == "next_sentence":
            return TextOutput(logits=self.cls.relationship(self.pooler(states)))
        if head == "token_classification":
            return TextOutput(logits=self.classifier(self.dropout(states, deterministic=not train)))
        if head == "question_answering":
            logits = self.qa_outputs(self.qa_dropout(states, deterministic=not train))
            return TextOutput(start_logits=logits[..., 0], end_logits=logits[..., 1])
        if head == "classification":
            return TextOutput(logits=self._classify(states, train=train))
        if head == "embedding":
            return TextOutput(embeddings=self._embedding(states, mask))
        return TextOutput(
            last_hidden_state=states, pooler_output=self.pooler(states) if head == "pooler" else None
        )

    def _classify(self, states: jax.Array, *, train: bool) -> jax.Array:
        """(batch, length, width) -> one row of logits for each text."""
        variant = VARIANTS[self.variant]
        # RoBERTa's classifier of texts has a dense layer of its own; its choice of one reads the pooler.
        if variant.pools or (self.variant == "roberta" and self.head == "multiple_choice"):
            x = self.pooler(states)
        else:
            x = self.dropout(states[:, 0], deterministic=not (train and variant.drops))
            x = ACTIVATIONS[variant.activation](self.pre_classifier(x))
        logits: jax.Array = self.classifier(self.dropout(x, deterministic=not train))
        return logits

    def _embedding(self, states: jax.Array, mask: jax.Array | None) -> jax.Array:
        activations = [each.activation for each in self.projections_of]
        layers = [*zip(self.projections, activations, strict=True)]
        return embedding(states, mask, self.pooling, layers, normalize=self.normalize)


def max_tokens(module: Bert) -> int:
    """The largest number of tokens in a text: RoBERTa's positions begin behind the padding token's id."""
    return module.max_length - (module.pad_token_id + 1) * VARIANTS[module.variant].offset


def inputs(module: Bert, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs; with the head "multiple_choice" a text has several choices."""
    choices = (2,) if module.head == "multiple_choice" else ()
    return tuple(replace(each, shape=(each.shape[0], *choices, each.shape[-1])) for each in inputs)


def create(
    *,
    variant: str = "bert",
    vocab_size: int = 30522,
    max_length: int = 512,
    token_types: int = 2,
    task_types: int = 3,
    reads_tasks: bool = False,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int = 3072,
    activation: str = "gelu",
    epsilon: float = 1e-12,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    classifier_dropout: float | None = None,
    answer_dropout: float = 0.0,
    causal: bool = False,
    pad_token_id: int = 0,
    head: str = "pooler",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "mean",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Bert:
    """Builds an encoder of text; the defaults are bert-base-uncased's.

    Args:
        variant: Architecture, one of VARIANTS.
        vocab_size: Number of tokens in the vocabulary.
        max_length: Number of position embeddings.
        token_types: Number of token type embeddings; DistilBERT has none.
        task_types: Number of task embeddings, where the model has them.
        reads_tasks: If true, it has them, as ERNIE 3.0; the task is always the first one.
        width: Size of the embeddings and hidden states.
        depth: Number of layers.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        dropout: Rate after the embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifier; by default `dropout`.
        answer_dropout: Rate before the head "question_answering".
        causal: If true, a token attends only to itself and earlier ones, as in a decoder.
        pad_token_id: Id of the padding token, behind which RoBERTa's positions begin.
        head: "none" gives states, "pooler" these and the pooled first one, "embedding" one vector a text;
            "masked_lm" and "causal_lm" logits of tokens, "next_sentence" two logits, "pretraining" both;
            "classification" and "token_classification" logits of classes, "question_answering" logits of an
            answer's start and end, "multiple_choice" one logit a choice.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        pooling: Reduction of states to an embedding, one of POOLING, or several that are concatenated.
        projections: Dense layers after the pooling, each with `features`, `activation` and `use_bias`.
        normalize: If true, scales embeddings to length 1.
        scan: If true, runs the layers in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head, pooling or activation, or heads that do not divide the width.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    if head == "pooler" and variant == "distilbert":
        raise ZooError("DistilBERT has no pooler; choose another head.")
    if head in BERT_ONLY and variant != "bert":
        raise ZooError(f"{variant} has no head {head!r}, which is BERT's; choose another one.")
    return Bert(
        vocab_size=vocab_size,
        max_length=max_length,
        token_types=token_types,
        task_types=task_types if reads_tasks else 0,
        series=LayerStack(depth, scan=scan, remat=remat),
        settings=checked_settings(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=activation,
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
            causal=causal,
        ),
        variant=variant,
        pad_token_id=pad_token_id,
        head=head,
        num_classes=num_classes,
        classifier_dropout=dropout if classifier_dropout is None else classifier_dropout,
        answer_dropout=answer_dropout,
        pooling=checked_pooling(pooling),
        projections_of=checked_projections(projections),
        normalize=normalize,
        dtype=dtype,
    )
