"""The outputs of models of text."""

from dataclasses import dataclass
from functools import partial

import jax


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["logits", "last_hidden_state", "pooler_output", "embeddings"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TextOutput:
    """The arrays that the model's head computes; the others are None.

    Attributes:
        logits: (batch, length, vocab_size) of a language model, (batch, num_classes) of a classifier.
        last_hidden_state: (batch, length, width)
        pooler_output: (batch, width), the pooler's output for the first token.
        embeddings: (batch, width), one vector for each text.
    """

    logits: jax.Array | None = None
    last_hidden_state: jax.Array | None = None
    pooler_output: jax.Array | None = None
    embeddings: jax.Array | None = None
