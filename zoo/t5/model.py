"""Encoder-decoder with relative positions, and its encoder alone: T5, FLAN-T5, mT5, UMT5.

Raffel et al., https://arxiv.org/abs/1910.10683; Shazeer, https://arxiv.org/abs/2002.05202, of its gated
activations; Chung et al., https://arxiv.org/abs/2304.09151 (UMT5). The attributes have the names of the Hub's
files.
"""

from collections.abc import Sequence
from dataclasses import replace

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.attention import key_mask
from zoo._nn.caches import Caches
from zoo._nn.decoder import token_logits
from zoo._nn.encoder_decoder import EncoderDecoder
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.memory import Memory, target_ids
from zoo._nn.options import check_choices
from zoo._nn.outputs import TextOutput
from zoo._nn.relative_buckets import checked_buckets
from zoo._nn.tokens import like_ids, stop_ids, token_ids
from zoo._registry.entry import Input
from zoo.t5.layers import Settings, Stack

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "shared/embedding": ("model", None),
    "relative_attention_bias/embedding": (None, "model"),
    "(q|k|v|wi|wi_0|wi_1|lm_head)/kernel": (None, "model"),
    "(o|wo)/kernel": ("model", None),
}
TASKS = {"lm": "text2text-generation"}
HEADS = ("encoder", "none", *TASKS)
GATED = "gated_"


class T5(EncoderDecoder):
    """Token embeddings, an encoder, and, but for the head "encoder", a decoder and one of HEADS."""

    vocab_size: int
    max_length: int
    encoder_series: LayerStack
    decoder_series: LayerStack
    settings: Settings
    head: str
    tied: bool
    scale_head: bool
    pad_token_id: int | None = 0
    eos_token_id: tuple[int, ...] = (1,)
    decoder_start_token_id: int = 0
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        width = settings.width
        self.shared = nn.Embed(self.vocab_size, width, self.dtype, embedding_init=nn.initializers.normal(1.0))
        self.encoder = Stack(settings, self.encoder_series, is_decoder=False)
        self.decoder = Stack(settings, self.decoder_series, is_decoder=True)
        self.lm_head = settings.dense(self.vocab_size, width**-0.5)

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        decoder_input_ids: jax.Array | None = None,
        decoder_attention_mask: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> TextOutput:
        """(batch, length) token ids -> logits of the decoder's next tokens, or states.

        Args:
            input_ids: (batch, length) token ids.
            attention_mask: (batch, length), 1 for tokens to keep and 0 for padding.
            decoder_input_ids: (batch, length) token ids that begin with `decoder_start_token_id`; not for the
                head "encoder".
            decoder_attention_mask: Their mask.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: another shape, no decoder_input_ids, or, unless it is compiled, an id that the model
                lacks.
        """
        ids = token_ids(input_ids, self.vocab_size)
        mask = key_mask(like_ids(attention_mask, ids, "attention_mask"))
        if self.head == "encoder":
            return TextOutput(last_hidden_state=self._encoded(ids, mask, train=train))
        target, target_mask = target_ids(decoder_input_ids, decoder_attention_mask, ids, self.vocab_size)
        states = self._encoded(ids, mask, train=train)
        x, _ = self.decoder(
            self.shared(target), key_mask(target_mask), states=states, states_mask=mask, train=train
        )
        return TextOutput(logits=self._logits(x)) if self.head == "lm" else TextOutput(last_hidden_state=x)

    def _encoded(self, inputs: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        states: jax.Array = self.encoder(self.shared(inputs), mask, train=train)[0]
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
        # Positions are relative, by the columns.
        found: tuple[jax.Array, Caches] = self.decoder(
            self.shared(ids), mask, memory=memory, caches=caches, column=column
        )
        return found

    def _logits(self, states: jax.Array) -> jax.Array:
        x = states * self.settings.width**-0.5 if self.scale_head else states
        logits: jax.Array = token_logits(self.shared, x) if self.tied else self.lm_head(x)
        return logits


def inputs(module: T5, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs; with a decoder, its token ids, too."""
    ids = inputs[0]
    if module.head == "encoder":
        return (ids,)
    return (ids, *(replace(ids, name=name) for name in ("attention_mask", "decoder_input_ids")))


def create(
    *,
    vocab_size: int = 32128,
    max_length: int = 512,
    width: int = 512,
    depth: int = 6,
    decoder_depth: int | None = None,
    heads: int = 8,
    head_dim: int = 64,
    feed_forward: int = 2048,
    activation: str = "relu",
    buckets: int = 32,
    max_distance: int = 128,
    own_positions: bool = False,
    epsilon: float = 1e-6,
    dropout: float = 0.1,
    head: str = "lm",
    tied: bool = True,
    scale_head: bool | None = None,
    pad_token_id: int | None = 0,
    eos_token_id: int | Sequence[int] | None = 1,
    decoder_start_token_id: int = 0,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> T5:
    """Builds a T5; the defaults are t5-small's.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest text of `generate`, in tokens; the model itself takes any.
        width: Size of the embeddings and hidden states.
        depth: Number of blocks of the encoder.
        decoder_depth: Number of blocks of the decoder; by default as many.
        heads: Number of attention heads.
        head_dim: Size of a head.
        feed_forward: Size of the hidden layer between a block's dense layers.
        activation: Name of the activation between them; with "gated_" before it, another dense layer
            multiplies it (T5 1.1, FLAN).
        buckets: Number of intervals that relative positions are told apart by; a multiple of four.
        max_distance: Distance from which on all positions are alike, in tokens.
        own_positions: If true, each block has its own relative positions (UMT5); else all have the first's.
        epsilon: Epsilon of the norms.
        dropout: Rate of all dropout, that of attention weights included.
        head: "lm" for logits of the decoder's next token, "none" for its states, "encoder" for those of the
            encoder alone.
        tied: If true, the head "lm" is the token embedding; else a layer of its own.
        scale_head: If true, the decoder's states are divided by the root of the width before the head; by
            default where it is tied.
        pad_token_id: Id of the padding token, if there is any.
        eos_token_id: Ids of the tokens that end a text, which `generate` then stops at.
        decoder_start_token_id: Id that the decoder's texts begin with.
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner, and
            generate more slowly.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head or activation, or buckets that positions cannot be put in.
    """
    check_choices(head=(head, HEADS))
    check_activation(activation.removeprefix(GATED))
    return T5(
        vocab_size=vocab_size,
        max_length=max_length,
        encoder_series=LayerStack(depth, scan=scan, remat=remat),
        decoder_series=LayerStack(depth if decoder_depth is None else decoder_depth, scan=scan, remat=remat),
        settings=Settings(
            width=width,
            heads=heads,
            head_dim=head_dim,
            feed_forward=feed_forward,
            activation=activation.removeprefix(GATED),
            gated=activation.startswith(GATED),
            epsilon=epsilon,
            dropout=dropout,
            buckets=checked_buckets(buckets, max_distance),
            own_positions=own_positions,
            dtype=None,
        ),
        head=head,
        tied=tied,
        scale_head=tied if scale_head is None else scale_head,
        pad_token_id=pad_token_id,
        eos_token_id=stop_ids(eos_token_id),
        decoder_start_token_id=decoder_start_token_id,
        dtype=dtype,
    )
