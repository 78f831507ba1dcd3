"""Encoder-decoders for summaries, translation and talk: BART, mBART, Marian, Pegasus, Blenderbot.

Lewis et al., https://arxiv.org/abs/1910.13461 (BART); Liu et al., https://arxiv.org/abs/2001.08210 (mBART);
Junczys-Dowmunt et al., https://arxiv.org/abs/1804.00344 (Marian); Zhang et al.,
https://arxiv.org/abs/1912.08777 (Pegasus); Roller et al., https://arxiv.org/abs/2004.13637 (Blenderbot). The
attributes have the names of the Hub's files.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import key_mask
from zoo._nn.caches import Caches
from zoo._nn.decoder import token_logits
from zoo._nn.encoder_decoder import EncoderDecoder
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.memory import Memory, target_ids
from zoo._nn.options import check_choices
from zoo._nn.outputs import TextOutput
from zoo._nn.seq2seq import Settings, Step
from zoo._nn.tokens import check_length, last_columns, like_ids, stop_ids, token_ids
from zoo._registry.entry import Input
from zoo.bart.layers import INIT, ClassificationHead, Decoder, Embeddings, Encoder
from zoo.bart.variants import VARIANTS

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "(shared|embed_tokens)/embedding": ("model", None),
    "([qkv]_proj|fc1|lm_head)/kernel": (None, "model"),
    "([qkv]_proj|fc1)/bias": ("model",),
    "(self_attn|encoder_attn)/out_proj/kernel": ("model", None),
    "fc2/kernel": ("model", None),
}
HEAD = ("classification_head",)
CLASSIFIER = {"head": "classification"}
CLASSIFYING = ("classification",)
TASKS = {
    "lm": "text2text-generation",
    "classification": "text-classification",
    "question_answering": "question-answering",
}
HEADS = ("encoder", "none", *TASKS)


class Bart(EncoderDecoder):
    """Token embeddings, an encoder, and, but for the head "encoder", a decoder and one of HEADS."""

    vocab_size: int
    decoder_vocab_size: int
    max_length: int
    encoder_embeddings: Embeddings
    decoder_embeddings: Embeddings
    encoder_series: LayerStack
    decoder_series: LayerStack
    encoder_settings: Settings
    decoder_settings: Settings
    head: str
    shared_embeddings: bool
    tied: bool
    shift: str
    num_classes: int
    classifier_dropout: float
    pad_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    decoder_start_token_id: int | None = None
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        encoder, decoder = (
            settings._replace(dtype=self.dtype) for settings in (self.encoder_settings, self.decoder_settings)
        )
        self.shared = self.encoder_embeddings.tokens(encoder.width, self.dtype)
        self.encoder = Encoder(self.encoder_embeddings, self.encoder_series, encoder)
        self.decoder = Decoder(self.decoder_embeddings, self.decoder_series, decoder)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=INIT)
        self.lm_head, self.qa_outputs = dense(self.decoder_vocab_size, use_bias=False), dense(2)
        self.classification_head = ClassificationHead(
            encoder.width, self.num_classes, self.classifier_dropout, self.dtype
        )
        if self.head == "lm":
            # Of files, and never trained; that of most is 0.
            self.final_logits_bias = self.variable(
                "constants", "final_logits_bias", jnp.zeros, (1, self.decoder_vocab_size)
            )

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        decoder_input_ids: jax.Array | None = None,
        decoder_attention_mask: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> TextOutput:
        """(batch, length) token ids -> logits of the decoder's next tokens, or the outputs of another head.

        Training leaves out no layers, as transformers can do.

        Args:
            input_ids: (batch, length) token ids. For the head "classification" each text has a token that
                ends it, and the last of them is what the classes are read of.
            attention_mask: (batch, length), 1 for tokens to keep and 0 for padding.
            decoder_input_ids: (batch, length) token ids that begin with `decoder_start_token_id`; by default,
                for BART and mBART, the encoder's, one place later. Not for the head "encoder".
            decoder_attention_mask: Their mask.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too long a text, another shape, no decoder_input_ids, or, unless it is compiled, an id
                that the model lacks.
        """
        ids = token_ids(input_ids, self.vocab_size)
        mask = key_mask(like_ids(attention_mask, ids, "attention_mask"))
        check_length(ids.shape[1], self.max_length)
        if self.head == "encoder":
            return TextOutput(last_hidden_state=self._encoded(ids, mask, train=train))
        if decoder_input_ids is None and self.shift:
            decoder_input_ids = self._shifted(ids, mask)
        target, target_mask = target_ids(
            decoder_input_ids, decoder_attention_mask, ids, self.decoder_vocab_size
        )
        check_length(target.shape[1], self.max_length)
        states = self._encoded(ids, mask, train=train)
        step = Step(key_mask(target_mask), 0, states, mask, train)
        x, _ = self.decoder(self._shared, target, jnp.arange(target.shape[1])[None], step)
        if self.head == "lm":
            return TextOutput(logits=self._logits(x))
        if self.head == "classification":
            ends = jnp.isin(ids, jnp.array(self.eos_token_id, ids.dtype))
            last = last_columns(ids, ends, None)[:, None, None]
            chosen = jnp.take_along_axis(x, last, 1)[:, 0]
            return TextOutput(logits=self.classification_head(chosen, train=train))
        if self.head == "question_answering":
            start, end = jnp.moveaxis(self.qa_outputs(x), -1, 0)
            return TextOutput(start_logits=start, end_logits=end)
        return TextOutput(last_hidden_state=x, encoder_last_hidden_state=states)

    @property
    def _shared(self) -> nn.Embed | None:
        return self.shared if self.shared_embeddings else None

    def _shifted(self, ids: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Returns texts one place later, for the decoder."""
        if self.shift == "start":
            first = self.decoder_start_token_id
            if first is None:
                raise ZooError("the model has no decoder_start_token_id; pass decoder_input_ids.")
            begin = jnp.full_like(ids[:, :1], first)
        else:
            last = last_columns(ids, None if mask is None else mask[:, 0, 0], self.pad_token_id)
            begin = jnp.take_along_axis(ids, last[:, None], 1)
        return jnp.concatenate([begin, ids[:, :-1]], 1)

    def _encoded(self, inputs: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        states: jax.Array = self.encoder(self._shared, inputs, mask, train=train)
        return states

    def _decoded(
        self,
        ids: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        caches: Caches | None,
        column: jax.Array,
        memory: Memory,
    ) -> tuple[jax.Array, Caches]:
        step = Step(mask, column, None, memory.mask, train=False)
        found: tuple[jax.Array, Caches] = self.decoder(self._shared, ids, positions, step, caches, memory)
        return found

    def _logits(self, states: jax.Array) -> jax.Array:
        embedding = self.shared if self.shared_embeddings else self.decoder.embed_tokens
        logits: jax.Array = token_logits(embedding, states) if self.tied else self.lm_head(states)
        return logits + self.final_logits_bias.value[0].astype(logits.dtype)


def inputs(module: Bart, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs, with texts that the model takes; with a decoder, its token ids, too."""
    ids = replace(inputs[0], shape=(inputs[0].shape[0], min(inputs[0].shape[1], module.max_length)))
    if module.head == "encoder":
        return (ids,)
    return (ids, *(replace(ids, name=name) for name in ("attention_mask", "decoder_input_ids")))


def create(
    *,
    variant: str = "bart",
    vocab_size: int = 50265,
    decoder_vocab_size: int | None = None,
    max_length: int = 1024,
    width: int = 768,
    encoder_layers: int = 6,
    decoder_layers: int = 6,
    encoder_heads: int = 12,
    decoder_heads: int = 12,
    encoder_feed_forward: int = 3072,
    decoder_feed_forward: int = 3072,
    activation: str = "gelu",
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
    activation_dropout: float = 0.0,
    classifier_dropout: float = 0.0,
    scale_embedding: bool = False,
    shared: bool = True,
    tied: bool = True,
    head: str = "lm",
    num_classes: int = 3,
    pad_token_id: int | None = 1,
    eos_token_id: int | Sequence[int] | None = 2,
    decoder_start_token_id: int | None = 2,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Bart:
    """Builds a BART or a relative; the defaults are bart-base's.

    Args:
        variant: One of VARIANTS: "bart", "mbart", "marian", "pegasus", "blenderbot", "blenderbot-small".
        vocab_size: Number of tokens in the encoder's vocabulary.
        decoder_vocab_size: Number of tokens in the decoder's; by default as many.
        max_length: Longest text, in tokens.
        width: Size of the embeddings and hidden states.
        encoder_layers: Number of layers in the encoder.
        decoder_layers: Number of layers in the decoder.
        encoder_heads: Number of attention heads in the encoder; divides the width.
        decoder_heads: Number of attention heads in the decoder; divides the width.
        encoder_feed_forward: Size of the hidden layer between two dense layers of the encoder.
        decoder_feed_forward: The same of the decoder.
        activation: Name of the activation between them.
        dropout: Rate after the embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        activation_dropout: Rate after the activation between the dense layers.
        classifier_dropout: Rate before each dense layer of the head "classification".
        scale_embedding: If true, embeddings of tokens are multiplied by the root of the width.
        shared: If true, both sides have one embedding of tokens; else each has its own.
        tied: If true, the head "lm" is the decoder's token embedding; else a layer of its own.
        head: "lm" for logits of the decoder's next token, "classification" for logits of a text,
            "question_answering" for logits of the first and last token of an answer, "none" for the states of
            both sides, "encoder" for those of the encoder alone.
        num_classes: Number of classes of the head "classification".
        pad_token_id: Id of the padding token, if there is any.
        eos_token_id: Ids of the tokens that end a text, which `generate` then stops at.
        decoder_start_token_id: Id that the decoder's texts begin with, if it is always the same.
        scan: If true, runs the layers in loops over stacked arrays: deep models compile sooner, and
            generate more slowly.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head or activation, heads that do not divide the width, or an embedding
            that two vocabularies of several sizes would share.
    """
    check_choices(variant=(variant, VARIANTS), head=(head, HEADS))
    for heads in (encoder_heads, decoder_heads):
        if width % heads:
            raise ZooError(f"width={width}: expected a number that {heads} heads can share.")
    targets = vocab_size if decoder_vocab_size is None else decoder_vocab_size
    if shared and targets != vocab_size:
        raise ZooError(
            f"decoder_vocab_size={targets} and vocab_size={vocab_size}: one embedding has as many tokens for "
            "both; leave one out, or pass shared=False."
        )
    kind = VARIANTS[variant]
    settings = partial(
        Settings,
        width=width,
        activation=check_activation(activation),
        dropout=dropout,
        attention_dropout=attention_dropout,
        activation_dropout=activation_dropout,
        dtype=None,
        norm_first=kind.norm_first,
    )
    embeddings = partial(
        Embeddings,
        max_length=max_length,
        offset=kind.offset,
        sinusoidal=kind.sinusoidal,
    )
    return Bart(
        vocab_size=vocab_size,
        decoder_vocab_size=targets,
        max_length=max_length,
        encoder_embeddings=embeddings(vocab_size=vocab_size, normed=kind.normed[0], scaled=scale_embedding),
        # What is normed alone is the same scaled, but for epsilon.
        decoder_embeddings=embeddings(
            vocab_size=targets,
            normed=kind.normed[1],
            scaled=scale_embedding and kind.normed[1] != "tokens",
        ),
        encoder_series=LayerStack(encoder_layers, scan=scan, remat=remat),
        decoder_series=LayerStack(decoder_layers, scan=scan, remat=remat),
        encoder_settings=settings(heads=encoder_heads, feed_forward=encoder_feed_forward),
        decoder_settings=settings(heads=decoder_heads, feed_forward=decoder_feed_forward),
        head=head,
        shared_embeddings=shared,
        tied=tied,
        shift=kind.shift,
        num_classes=num_classes,
        classifier_dropout=classifier_dropout,
        pad_token_id=pad_token_id,
        eos_token_id=stop_ids(eos_token_id),
        decoder_start_token_id=decoder_start_token_id,
        dtype=dtype,
    )
