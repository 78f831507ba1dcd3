"""The outputs of models that give several arrays."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "logits",
        "start_logits",
        "end_logits",
        "prediction_logits",
        "seq_relationship_logits",
        "sop_logits",
        "mc_logits",
        "last_hidden_state",
        "pooler_output",
        "embeddings",
        "encoder_last_hidden_state",
    ],
    meta_fields=[],
)
@dataclass(frozen=True)
class TextOutput:
    """The arrays that the model's head computes, by transformers' names; the others are None.

    Attributes:
        logits: (batch, length, vocab_size) of a language model, (batch, num_classes) of a classifier,
            (batch, length, num_classes) of one of tokens, (batch, choices) of multiple choice, (batch, 2) of
            the next sentence, (batch, length) of ELECTRA's discriminator: above 0, a token was replaced.
        start_logits: (batch, length), for the first token of an answer.
        end_logits: (batch, length), for the last token of an answer.
        prediction_logits: (batch, length, vocab_size) of BERT's or ALBERT's pretraining.
        seq_relationship_logits: (batch, 2) of BERT's pretraining: the second text follows, or does not.
        sop_logits: (batch, 2) of ALBERT's pretraining: two texts are in their order, or swapped.
        mc_logits: (batch, choices) of a language model with a second head.
        last_hidden_state: (batch, length, width)
        pooler_output: (batch, width), the pooler's output for the first token.
        embeddings: (batch, width), one vector for each text.
        encoder_last_hidden_state: (batch, source, width) of an encoder-decoder, whose `last_hidden_state` is
            the decoder's.
    """

    logits: jax.Array | None = None
    start_logits: jax.Array | None = None
    end_logits: jax.Array | None = None
    prediction_logits: jax.Array | None = None
    seq_relationship_logits: jax.Array | None = None
    sop_logits: jax.Array | None = None
    mc_logits: jax.Array | None = None
    last_hidden_state: jax.Array | None = None
    pooler_output: jax.Array | None = None
    embeddings: jax.Array | None = None
    encoder_last_hidden_state: jax.Array | None = None


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "logits_per_image",
        "logits_per_text",
        "text_embeds",
        "image_embeds",
        "last_hidden_state",
        "pooler_output",
    ],
    meta_fields=[],
)
@dataclass(frozen=True)
class PairOutput:
    """The arrays of a model of texts and images, by transformers' names; those it lacks are None.

    Attributes:
        logits_per_image: (images, texts), the products of their vectors, scaled.
        logits_per_text: (texts, images), the same transposed.
        text_embeds: (texts, size), vectors in the space of both; of length 1 where there are logits.
        image_embeds: (images, size), likewise.
        last_hidden_state: (batch, length, width) of a text or image encoder alone.
        pooler_output: (batch, width) of a text or image encoder alone, before it is projected.
    """

    logits_per_image: jax.Array | None = None
    logits_per_text: jax.Array | None = None
    text_embeds: jax.Array | None = None
    image_embeds: jax.Array | None = None
    last_hidden_state: jax.Array | None = None
    pooler_output: jax.Array | None = None


class TrainingLogits(NamedTuple):
    """A classifier's logits in training, with those of its auxiliary heads.

    Attributes:
        logits: (batch, num_classes), what it gives otherwise, too.
        auxiliary: The same of each auxiliary head, in PyTorch's order.
    """

    logits: jax.Array
    auxiliary: tuple[jax.Array, ...]
