"""The original Transformer and its factory."""

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import key_mask
from zoo._nn.caches import Caches
from zoo._nn.encoder_decoder import EncoderDecoder
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.memory import Memory
from zoo._nn.seq2seq import Step
from zoo._nn.tokens import like_ids, stop_ids, token_ids
from zoo.transformer.layers import Dense, Sizes, Stack, sinusoids


class Transformer(EncoderDecoder):
    """Predicts the next token of the target from the source and the target so far."""

    source_vocab_size: int
    target_vocab_size: int
    encoder_series: LayerStack
    decoder_series: LayerStack
    sizes: Sizes
    max_length: int = 512
    decoder_start_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None
    dtype: DTypeLike | None = None
    head: ClassVar[str] = "lm"

    def setup(self) -> None:
        width, dtype = self.sizes.width, self.dtype
        init = nn.initializers.normal(1 / math.sqrt(width))
        self.src_tok_emb = nn.Embed(self.source_vocab_size, width, dtype=dtype, embedding_init=init)
        self.tgt_tok_emb = nn.Embed(self.target_vocab_size, width, dtype=dtype, embedding_init=init)
        stack = partial(Stack, sizes=self.sizes, dtype=dtype)
        self.encoder = stack(series=self.encoder_series, is_decoder=False)
        self.decoder = stack(series=self.decoder_series, is_decoder=True)
        self.generator = Dense(self.target_vocab_size, dtype=dtype)
        self.drop = nn.Dropout(self.sizes.dropout)

    @property
    def vocab_size(self) -> int:
        """Number of tokens that the encoder reads."""
        return self.source_vocab_size

    @property
    def decoder_vocab_size(self) -> int:
        """Number of tokens that the decoder writes."""
        return self.target_vocab_size

    def _embed(self, embedding: nn.Embed, ids: jax.Array, waves: ArrayLike, *, train: bool) -> jax.Array:
        x = math.sqrt(self.sizes.width) * embedding(ids)
        out: jax.Array = self.drop(x + jnp.asarray(waves, x.dtype), deterministic=not train)
        return out

    def _encoded(self, inputs: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        waves = sinusoids(inputs.shape[1], self.sizes.width)
        x = self._embed(self.src_tok_emb, inputs, waves, train=train)
        states: jax.Array = self.encoder(x, Step(mask, 0, None, None, train))[0]
        return states

    def __call__(
        self,
        source_ids: jax.Array,
        target_ids: jax.Array,
        source_mask: jax.Array | None = None,
        target_mask: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """(batch, source) and (batch, target) token ids -> (batch, target, target_vocab_size) logits.

        The masks have the shapes of the ids, with 1 for tokens to keep.

        Raises:
            ZooError: arrays of other shapes, or, unless it is compiled, an id that the model lacks.
        """
        source_ids = token_ids(source_ids, self.source_vocab_size, name="source_ids")
        target_ids = token_ids(target_ids, self.target_vocab_size, name="target_ids")
        if source_ids.shape[0] != target_ids.shape[0]:
            raise ZooError(
                f"source_ids of shape {source_ids.shape} and target_ids of shape {target_ids.shape}; "
                "expected as many texts in both."
            )
        visible = key_mask(like_ids(source_mask, source_ids, "source_mask", of="source_ids"))
        target_mask = like_ids(target_mask, target_ids, "target_mask", of="target_ids")
        states = self._encoded(source_ids, visible, train=train)
        waves = sinusoids(target_ids.shape[1], self.sizes.width)
        target = self._embed(self.tgt_tok_emb, target_ids, waves, train=train)
        x, _ = self.decoder(target, Step(key_mask(target_mask), 0, states, visible, train))
        return self._logits(x)

    def _decoded(
        self,
        ids: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        caches: Caches | None,
        column: jax.Array,
        memory: Memory,
    ) -> tuple[jax.Array, Caches]:
        waves = jnp.asarray(sinusoids(self.max_length, self.sizes.width))[positions]
        x = self._embed(self.tgt_tok_emb, ids, waves, train=False)
        found: tuple[jax.Array, Caches] = self.decoder(
            x, Step(mask, column, None, memory.mask, train=False), caches, memory
        )
        return found

    def _logits(self, states: jax.Array) -> jax.Array:
        logits: jax.Array = self.generator(states)
        return logits


def create(
    *,
    source_vocab_size: int = 37000,
    target_vocab_size: int = 37000,
    width: int = 512,
    heads: int = 8,
    encoder_layers: int = 6,
    decoder_layers: int = 6,
    feed_forward: int = 2048,
    activation: str = "relu",
    norm_first: bool = False,
    dropout: float = 0.1,
    max_length: int = 512,
    decoder_start_token_id: int | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Transformer:
    """Builds a Transformer; the defaults are the paper's base model, with two embeddings and a head apart.

    Args:
        source_vocab_size: Number of tokens in the source's vocabulary.
        target_vocab_size: Number of tokens in the target's vocabulary.
        width: Size of the embeddings and hidden states (d_model); even.
        heads: Number of attention heads; divides the width.
        encoder_layers: Number of layers in the encoder.
        decoder_layers: Number of layers in the decoder.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them, one of ACTIVATIONS.
        norm_first: If true, normalizes a part's input (pre-norm) instead of the sum after it (post-norm).
        dropout: Rate of all dropout, that of attention weights included.
        max_length: Longest text of `generate`, in tokens; the model itself takes any.
        decoder_start_token_id: Id that the texts of `generate` begin with; if None, they are passed.
        eos_token_id: Ids of the tokens that end a text, which `generate` then stops at.
        pad_token_id: Id of the padding token, if there is any.
        scan: If true, runs the layers in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: the heads cannot share the width, or no such activation.
    """
    if width % 2 or width % heads:
        raise ZooError(f"width={width}: expected an even number that {heads} heads can share.")
    return Transformer(
        source_vocab_size=source_vocab_size,
        target_vocab_size=target_vocab_size,
        encoder_series=LayerStack(encoder_layers, scan=scan, remat=remat),
        decoder_series=LayerStack(decoder_layers, scan=scan, remat=remat),
        sizes=Sizes(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=check_activation(activation),
            norm_first=norm_first,
            dropout=dropout,
        ),
        max_length=max_length,
        decoder_start_token_id=decoder_start_token_id,
        eos_token_id=stop_ids(eos_token_id),
        pad_token_id=pad_token_id,
        dtype=dtype,
    )
