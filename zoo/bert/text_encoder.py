"""Encoder of text with the heads that BERT's relatives share; what differs between them are its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.options import check_choices
from zoo._nn.outputs import TextOutput
from zoo._nn.text_pooling import Vectors
from zoo._nn.tokens import flattened, like_ids, token_ids
from zoo._registry.entry import Input
from zoo.bert.parts import Sizes

# The contract of the families that are made of this encoder; see zoo/_registry/family.py.
HEAD, NECK = ("classifier",), ("neck",)
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
Part: TypeAlias = type[nn.Module]


class Parts(NamedTuple):
    """Modules of a family, each made of its settings and a dtype; a family lacks the heads that are None.

    Attributes:
        base: (ids, mask, types, positions, train=) -> (batch, length, width) states of the last layer; its
            method `words` gives the token embeddings.
        words: (states, token embeddings) -> (batch, length, vocab_size) logits.
        texts: (states, mask, train=) -> (batch, width), what the classifier of texts takes.
        choices: The same for what the logit of a choice is made of.
        pairs: The same for what tells the order of two texts.
        tokens: (states, mask, train=) -> (batch, length, width), what the classifier of tokens takes.
        answers: The same for what finds answers.
        pooler: (states, mask, train=) -> (batch, width), the output of the pooler.
        replaced: The same as `tokens`, to (batch, length) logits of a token being replaced.
        causal: If true, the family has the head "causal_lm".
    """

    base: Part
    words: Part
    texts: Part
    tokens: Part
    answers: Part
    choices: Part | None = None
    pairs: Part | None = None
    pooler: Part | None = None
    replaced: Part | None = None
    causal: bool = False

    @property
    def heads(self) -> dict[str, Part | None]:
        """The values of `head=`, and the part between the states and the last layer."""
        found = {
            "pooler": self.pooler,
            "pretraining": self.pairs,
            "replaced_tokens": self.replaced,
            "classification": self.texts,
            "token_classification": self.tokens,
            "question_answering": self.answers,
            "multiple_choice": self.choices,
        }
        words = ("masked_lm", *(("causal_lm",) if self.causal else ()))
        return {
            **dict.fromkeys(("none", *words, "embedding")),
            **{head: part for head, part in found.items() if part is not None},
        }


class TextEncoder(nn.Module):
    """A family's encoder and one of its heads."""

    parts: Parts
    settings: Any
    sizes: Sizes
    head: str
    num_classes: int
    vectors: Vectors
    dtype: DTypeLike | None = None

    @property
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary."""
        return self.sizes.vocab_size

    @property
    def token_types(self) -> int:
        """Number of token types; 0 for none."""
        return self.sizes.token_types

    @property
    def max_length(self) -> int:
        """Number of positions."""
        return self.sizes.max_length

    def setup(self) -> None:
        made = (self.settings, self.dtype)
        self.base = self.parts.base(*made)
        self.words = self.parts.words(*made)
        neck = self.parts.heads[self.head]
        self.neck = None if neck is None else neck(*made)
        fixed = {"multiple_choice": 1, "pretraining": 2, "question_answering": 2}
        self.classifier = nn.Dense(
            fixed.get(self.head, self.num_classes),
            dtype=self.dtype,
            kernel_init=nn.initializers.normal(0.02),
        )
        self.projections = self.vectors.build(self.dtype)

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
            position_ids: (batch, length) positions; by default those of the tokens in turn.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too long a text, another shape, or, unless it is compiled, an id that the model lacks.
        """
        axes, sizes = 3 if self.head == "multiple_choice" else 2, self.sizes
        ids = token_ids(input_ids, sizes.vocab_size, axes=axes)
        mask = like_ids(attention_mask, ids, "attention_mask")
        if token_type_ids is not None and not sizes.token_types:
            raise ZooError("the model has no token types; leave token_type_ids out.")
        types, positions = (
            like_ids(each if each is None else token_ids(each, count, name=name, axes=axes), ids, name)
            for name, each, count in (
                ("token_type_ids", token_type_ids, sizes.token_types),
                ("position_ids", position_ids, sizes.max_length),
            )
        )
        shape = ids.shape
        mask, types, positions = (flattened(each, shape) for each in (mask, types, positions))
        states = self.base(ids.reshape(-1, shape[-1]), mask, types, positions, train=train)
        return self._outputs(states, mask, shape, train=train)

    def _outputs(
        self, states: jax.Array, mask: jax.Array | None, shape: tuple[int, ...], *, train: bool
    ) -> TextOutput:
        """Returns what the head makes of the states, and of the shape of the ids."""
        head = self.head
        if head == "none":
            return TextOutput(last_hidden_state=states)
        if head in ("masked_lm", "causal_lm"):
            return TextOutput(logits=self.words(states, self.base.words()))
        if head == "embedding":
            return TextOutput(embeddings=self.vectors.apply(self.projections, states, mask))
        assert self.neck is not None  # all other heads have one
        x = self.neck(states, mask, train=train)
        if head == "pooler":
            return TextOutput(last_hidden_state=states, pooler_output=x)
        if head == "replaced_tokens":
            return TextOutput(logits=x)
        logits = self.classifier(x)
        if head == "pretraining":
            words = self.words(states, self.base.words())
            return TextOutput(prediction_logits=words, sop_logits=logits)
        if head == "question_answering":
            return TextOutput(start_logits=logits[..., 0], end_logits=logits[..., 1])
        return TextOutput(logits=logits.reshape(shape[:2]) if head == "multiple_choice" else logits)


def inputs(module: TextEncoder, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs; with the head "multiple_choice" a text has several choices."""
    choices = (2,) if module.head == "multiple_choice" else ()
    return tuple(replace(each, shape=(each.shape[0], *choices, each.shape[-1])) for each in inputs)


def max_tokens(module: TextEncoder) -> int:
    """Returns the largest number of tokens in a text."""
    return module.sizes.max_length - module.sizes.offset


def text_encoder(
    parts: Parts,
    settings: Any,
    sizes: Sizes,
    *,
    head: str,
    num_classes: int,
    pooling: str | Sequence[str],
    projections: Sequence[Mapping[str, Any]],
    normalize: bool,
    dtype: DTypeLike | None,
) -> TextEncoder:
    """Builds an encoder of a family's parts; its `create` documents the arguments.

    Raises:
        ZooError: no such head or pooling.
    """
    check_choices(head=(head, parts.heads))
    return TextEncoder(
        parts=parts,
        settings=settings,
        sizes=sizes,
        head=head,
        num_classes=num_classes,
        vectors=Vectors.of(pooling, projections, normalize=normalize),
        dtype=dtype,
    )
