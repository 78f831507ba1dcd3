"""Decoder-only language model with learned positions: GPT-2.

Radford et al., https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf;
the attributes have the names of the Hub's files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import key_mask
from zoo._nn.caches import Caches
from zoo._nn.decoder import token_logits
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices
from zoo._nn.outputs import TextOutput
from zoo._nn.text_pooling import Vectors
from zoo._nn.tokens import check_length, flattened, last_columns, like_ids, stop_ids, token_ids
from zoo._registry.entry import Input
from zoo.gpt2.layers import Block, Context, Settings, Summary

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "wte/embedding": ("model", None),
    "(c_attn|c_fc)/kernel": (None, "model"),
    "(c_attn|c_fc)/bias": ("model",),
    "c_proj/kernel": ("model", None),
}
HEAD = ("score", "classifier")
CLASSIFIER = {"head": "classification"}
CLASSIFYING = ("classification", "token_classification")
TASKS = {
    "lm": "text-generation",
    "double_heads": "text-generation",
    "classification": "text-classification",
    "token_classification": "token-classification",
    "embedding": "sentence-similarity",
    "question_answering": "question-answering",
}
END_TOKEN = "<|endoftext|>"
HEADS = (*TASKS, "none")


class GPT2(nn.Module):
    """Token and position embeddings, blocks, and one of HEADS; that of "lm" is the token embedding."""

    vocab_size: int
    max_length: int
    settings: Settings
    embedding_dropout: float
    head: str
    num_classes: int = 2
    vectors: Vectors = Vectors()
    pad_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    classifier_dropout: float = 0.1
    summary_dropout: float = 0.1
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        embed = partial(nn.Embed, features=settings.width, dtype=self.dtype)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02))
        self.wte = embed(self.vocab_size, embedding_init=nn.initializers.normal(0.02))
        self.wpe = embed(self.max_length, embedding_init=nn.initializers.normal(0.02))
        self.drop = nn.Dropout(self.embedding_dropout)
        self.h = settings.series.build(partial(Block, settings))
        self.ln_f = settings.norm()
        self.score = dense(self.num_classes, use_bias=False)
        self.classifier = dense(self.num_classes)
        self.dropout = nn.Dropout(self.classifier_dropout)
        self.qa_outputs = dense(2)
        self.projections = self.vectors.build(self.dtype)
        self.multiple_choice_head = Summary(settings, self.summary_dropout)

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        *,
        mc_token_ids: jax.Array | None = None,
        train: bool = False,
    ) -> TextOutput:
        """(batch, length) token ids -> the outputs of the head; states where it is "none".

        With the head "double_heads" all arguments are (batch, choices, length).

        Args:
            input_ids: (batch, length) token ids.
            attention_mask: (batch, length), 1 for tokens to keep and 0 for padding.
            token_type_ids: (batch, length) token ids whose embeddings are added, such as those of speakers.
            position_ids: (batch, length) positions; by default 0, 1, 2 ...
            mc_token_ids: (batch, choices), the token of each choice that "double_heads" reads; by default
                the last one.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too long a text, another shape, or, unless it is compiled, an id that the model lacks.
        """
        axes = 3 if self.head == "double_heads" else 2
        ids = token_ids(input_ids, self.vocab_size, axes=axes)
        length, shape = ids.shape[-1], ids.shape
        check_length(length, self.max_length)
        mask = flattened(like_ids(attention_mask, ids, "attention_mask"), shape)
        types, positions = (
            like_ids(each if each is None else token_ids(each, count, name=name, axes=axes), ids, name)
            for name, each, count in (
                ("token_type_ids", token_type_ids, self.vocab_size),
                ("position_ids", position_ids, self.max_length),
            )
        )
        ids, positions = ids.reshape(-1, length), flattened(positions, shape)
        places = jnp.arange(length)[None] if positions is None else positions
        context = Context(key_mask(mask), 0, train)
        x, _ = self._states(ids, places, context, None, flattened(types, shape))
        if axes == 3:
            return self._double(x, shape, mc_token_ids, train=train)
        return self._outputs(x, ids, mask, train=train)

    def _outputs(
        self, states: jax.Array, ids: jax.Array, mask: jax.Array | None, *, train: bool
    ) -> TextOutput:
        """Returns what the head makes of the states."""
        if self.head == "lm":
            return TextOutput(logits=self.wte.attend(states))
        if self.head == "embedding":
            return TextOutput(embeddings=self.vectors.apply(self.projections, states, mask))
        if self.head == "classification":
            last = last_columns(ids, mask, self.pad_token_id)[:, None, None]
            return TextOutput(logits=self.score(jnp.take_along_axis(states, last, 1)[:, 0]))
        if self.head == "token_classification":
            return TextOutput(logits=self.classifier(self.dropout(states, deterministic=not train)))
        if self.head == "question_answering":
            logits = self.qa_outputs(states)
            return TextOutput(start_logits=logits[..., 0], end_logits=logits[..., 1])
        return TextOutput(last_hidden_state=states)

    def _double(
        self, states: jax.Array, shape: tuple[int, ...], tokens: jax.Array | None, *, train: bool
    ) -> TextOutput:
        """Returns the logits of the next tokens, and one logit for each choice."""
        last = jnp.full(shape[:2], shape[-1] - 1) if tokens is None else jnp.asarray(tokens)
        chosen = jnp.take_along_axis(states, last.reshape(-1)[:, None, None], 1)[:, 0]
        return TextOutput(
            logits=self.wte.attend(states).reshape(*shape, -1),
            mc_logits=self.multiple_choice_head(chosen, train=train).reshape(shape[:2]),
        )

    def extend(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        mask: jax.Array,
        caches: Caches | None,
        last: jax.Array,
    ) -> tuple[jax.Array, Caches]:
        """Runs texts from their beginning, or one more token of each, and fills the caches, for generation.

        Args:
            input_ids: (batch, length), or (batch, 1) with caches.
            position_ids: The same shape.
            mask: (batch, 1, 1, length), or of the caches' length.
            caches: One for each block; with scan a single one, whose first axis is the blocks.
            last: Index of the last token, whose logits are returned, and its column in the caches.

        Returns:
            (batch, vocab_size) logits, and the caches with the tokens.
        """
        x, made = self._states(input_ids, position_ids, Context(mask, last, train=False), caches)
        index = last if caches is None else 0
        return token_logits(self.wte, jax.lax.dynamic_index_in_dim(x, index, 1, keepdims=False)), made

    def _states(
        self,
        input_ids: jax.Array,
        position_ids: jax.Array,
        context: Context,
        caches: Caches | None,
        types: jax.Array | None = None,
    ) -> tuple[jax.Array, Caches]:
        x = self.wte(input_ids) + self.wpe(position_ids)
        x = x if types is None else x + self.wte(types)
        x = self.drop(x, deterministic=not context.train)
        series = self.settings.series
        each: Any = (jnp.arange(series.depth), caches)
        if not series.scan:
            each = [(layer, caches and caches[layer]) for layer in range(series.depth)]
        x, made = series.scan_with(self.h, lambda block, x, own: block(x, context, own[1], own[0]), x, each)
        return self.ln_f(x), made


def inputs(module: GPT2, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs; with the head "double_heads" a text has several choices."""
    choices = (2,) if module.head == "double_heads" else ()
    return tuple(replace(each, shape=(each.shape[0], *choices, each.shape[-1])) for each in inputs)


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
    classifier_dropout: float = 0.1,
    summary_dropout: float = 0.1,
    scale_attention: bool = True,
    scale_by_layer: bool = False,
    pad_token_id: int | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    head: str = "lm",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "lasttoken",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> GPT2:
    """Builds a GPT-2; the defaults are the smallest of the four.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest sequence, in tokens.
        width: Size of the embeddings and hidden states.
        depth: Number of blocks.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a block's two dense layers; by default 4 * width.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        dropout: Rate before each residual connection.
        attention_dropout: Rate of the attention weights.
        embedding_dropout: Rate after the embeddings.
        classifier_dropout: Rate before the classifier of tokens.
        summary_dropout: Rate before the second head of "double_heads".
        scale_attention: If true, products of queries and keys are divided by the root of the head's size.
        scale_by_layer: If true, they are also divided by the block's number, from 1.
        pad_token_id: Id of the padding token, if there is any; the head "classification" reads the last
            token that is another one, and that the mask keeps.
        eos_token_id: Ids of the tokens that end a text, which `generate` then stops at.
        head: "lm" for logits of the next token, "none" for hidden states, "embedding" for a vector of each
            text, "classification" and "token_classification" for logits of classes, "question_answering" for
            those of an answer's start and end, "double_heads" for logits of the next token and one for each
            choice.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        pooling: Reduction of states to the vector of the head "embedding", one of zoo.bert.POOLING, or
            several that are concatenated.
        projections: Dense layers after the pooling, each with `features`, `activation` and `use_bias`.
        normalize: If true, scales these vectors to length 1.
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner, and
            generate more slowly.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head or activation, or heads that do not divide the width.
    """
    check_choices(head=(head, HEADS))
    if width % heads:
        raise ZooError(f"{heads} heads do not divide a width of {width}.")
    settings = Settings(
        series=LayerStack(depth, scan=scan, remat=remat),
        width=width,
        heads=heads,
        feed_forward=feed_forward or 4 * width,
        activation=check_activation(activation),
        epsilon=epsilon,
        dropout=dropout,
        attention_dropout=attention_dropout,
        scale_attention=scale_attention,
        scale_by_layer=scale_by_layer,
        dtype=None,
    )
    return GPT2(
        vocab_size=vocab_size,
        max_length=max_length,
        settings=settings,
        embedding_dropout=embedding_dropout,
        head=head,
        num_classes=num_classes,
        vectors=Vectors.of(pooling, projections, normalize=normalize),
        pad_token_id=pad_token_id,
        eos_token_id=stop_ids(eos_token_id),
        classifier_dropout=classifier_dropout,
        summary_dropout=summary_dropout,
        dtype=dtype,
    )
