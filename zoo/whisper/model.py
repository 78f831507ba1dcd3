"""Speech to text in many languages: Whisper.

Radford et al., https://arxiv.org/abs/2212.04356; the attributes have the names of the Hub's files.
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
from zoo._nn.memory import Memory, for_blocks
from zoo._nn.options import check_choices
from zoo._nn.outputs import TextOutput
from zoo._nn.seq2seq import DecoderLayer, EncoderLayer, Settings, Step
from zoo._nn.tokens import like_ids, stop_ids, token_ids
from zoo._registry.entry import Input
from zoo.whisper.positions import sinusoids

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "embed_tokens/embedding": ("model", None),
    "([qkv]_proj|fc1)/kernel": (None, "model"),
    "([qv]_proj|fc1)/bias": ("model",),
    "(out_proj|fc2)/kernel": ("model", None),
}
TASKS = {"lm": "automatic-speech-recognition", "none": "feature-extraction"}
HEADS = (*TASKS,)
_STRIDE = 2  # frames to a state, of the second convolution


class Encoder(nn.Module):
    """Two convolutions over frames of a spectrogram, fixed positions, and layers."""

    source_length: int
    series: LayerStack
    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        conv = partial(nn.Conv, settings.width, (3,), padding=1, dtype=settings.dtype)
        self.conv1, self.conv2 = conv(), conv(strides=_STRIDE)
        self.embed_positions = nn.Embed(
            self.source_length, settings.width, settings.dtype, embedding_init=sinusoids
        )
        self.layers = self.series.build(partial(EncoderLayer, settings))
        self.layer_norm = settings.norm()
        self.dropout = nn.Dropout(settings.dropout)

    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """(batch, frames, mel_bins) -> (batch, frames / 2, width)."""
        x = nn.gelu(self.conv1(features), approximate=False)
        x = nn.gelu(self.conv2(x), approximate=False)
        # Kept in the files, and never trained.
        x = x + jax.lax.stop_gradient(self.embed_positions(jnp.arange(self.source_length)))
        x = self.dropout(x, deterministic=not train)
        x = self.series.apply(self.layers, lambda layer, x: layer(x, train=train), x)
        out: jax.Array = self.layer_norm(x)
        return out


class Decoder(nn.Module):
    """Token and learned position embeddings, and layers that attend to the encoder's states."""

    vocab_size: int
    max_length: int
    series: LayerStack
    settings: Settings

    def setup(self) -> None:
        settings, init = self.settings, nn.initializers.normal(0.02)
        embed = partial(nn.Embed, features=settings.width, dtype=settings.dtype, embedding_init=init)
        self.embed_tokens, self.embed_positions = embed(self.vocab_size), embed(self.max_length)
        self.layers = self.series.build(partial(DecoderLayer, settings))
        self.layer_norm = settings.norm()
        self.dropout = nn.Dropout(settings.dropout)

    def memory(self, states: jax.Array, mask: jax.Array | None) -> Memory:
        """(batch, length, width) states of the encoder -> what the layers read of them."""
        return Memory.of(self.series, self.layers, DecoderLayer.cross, states, mask)

    def __call__(
        self,
        ids: jax.Array,
        positions: jax.Array,
        step: Step,
        caches: Caches | None = None,
        memory: Memory | None = None,
    ) -> tuple[jax.Array, Caches]:
        """(batch, length) ids -> (batch, length, width), and the caches with these tokens."""
        x = self.embed_tokens(ids) + self.embed_positions(positions)
        x = self.dropout(x, deterministic=not step.train)
        each = for_blocks(self.series, caches, memory and memory.by_block(self.series))
        x, made = self.series.scan_with(self.layers, lambda layer, x, own: layer(x, step, *own), x, each)
        return self.layer_norm(x), made


class Whisper(EncoderDecoder):
    """Encoder of a spectrogram, decoder of tokens, and one of HEADS; that of "lm" is the token embedding."""

    vocab_size: int
    mel_bins: int
    source_length: int
    max_length: int
    encoder_series: LayerStack
    decoder_series: LayerStack
    encoder_settings: Settings
    decoder_settings: Settings
    head: str
    pad_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    decoder_start_token_id: int | None = None
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.encoder = Encoder(
            source_length=self.source_length,
            series=self.encoder_series,
            settings=self.encoder_settings._replace(dtype=self.dtype),
        )
        self.decoder = Decoder(
            vocab_size=self.vocab_size,
            max_length=self.max_length,
            series=self.decoder_series,
            settings=self.decoder_settings._replace(dtype=self.dtype),
        )

    def __call__(
        self,
        input_features: jax.Array,
        decoder_input_ids: jax.Array,
        decoder_attention_mask: jax.Array | None = None,
        decoder_position_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> TextOutput:
        """(batch, frames, mel_bins) spectrogram and (batch, length) token ids -> the outputs of the head.

        Training leaves out no layers and masks no features, as transformers can do.

        Args:
            input_features: (batch, 2 * source_length, mel_bins), log-mel as `zoo.preprocess` makes it; the
                mel bins are last, where transformers has them before the frames.
            decoder_input_ids: (batch, length) token ids of the text so far.
            decoder_attention_mask: (batch, length), 1 for tokens to keep and 0 for padding.
            decoder_position_ids: (batch, length) positions; by default 0, 1, 2 ...
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too long a text, another shape, or, unless it is compiled, an id that the model lacks.
        """
        ids = token_ids(decoder_input_ids, self.vocab_size, name="decoder_input_ids")
        length = ids.shape[1]
        if length > self.max_length:
            raise ZooError(
                f"texts of {length} tokens; the model takes at most {self.max_length}, as "
                f"decoder_input_ids[:, -{self.max_length}:] has."
            )
        mask = like_ids(decoder_attention_mask, ids, "decoder_attention_mask", of="decoder_input_ids")
        positions = jnp.arange(length)[None]
        if decoder_position_ids is not None:
            positions = token_ids(decoder_position_ids, self.max_length, name="decoder_position_ids")
        states = self._encoded(input_features, None, train=train)
        x, _ = self.decoder(ids, positions, Step(key_mask(mask), 0, states, None, train))
        if self.head == "lm":
            return TextOutput(logits=self._logits(x))
        return TextOutput(last_hidden_state=x, encoder_last_hidden_state=states)

    def _encoded(self, inputs: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        states: jax.Array = self.encoder(self._checked(inputs), train=train)
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
        step = Step(mask, column, None, None, train=False)  # a spectrogram has no padding to mask
        found: tuple[jax.Array, Caches] = self.decoder(ids, positions, step, caches, memory)
        return found

    def _logits(self, states: jax.Array) -> jax.Array:
        return token_logits(self.decoder.embed_tokens, states)

    def _checked(self, features: jax.Array) -> jax.Array:
        """Returns the spectrograms as an array of the shape that the model takes."""
        array = jnp.asarray(features)
        expected = (_STRIDE * self.source_length, self.mel_bins)
        if array.ndim == 3 and array.shape[1:] == expected:
            return array
        turned = array.ndim == 3 and array.shape[1:] == expected[::-1]
        advice = "pass input_features.swapaxes(1, 2)" if turned else "zoo.preprocess makes them of speech"
        raise ZooError(
            f"input_features of shape {array.shape}; expected (batch, {expected[0]}, {expected[1]}): frames, "
            f"then mel bins; {advice}."
        )


def inputs(module: Whisper, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs with the shapes of the model's spectrograms and of a text that it takes."""
    features, ids, *others = inputs
    shape = (features.shape[0], _STRIDE * module.source_length, module.mel_bins)
    length = min(ids.shape[1], module.max_length)
    return (replace(features, shape=shape), replace(ids, shape=(ids.shape[0], length)), *others)


def create(
    *,
    vocab_size: int = 51865,
    mel_bins: int = 80,
    source_length: int = 1500,
    max_length: int = 448,
    width: int = 384,
    encoder_layers: int = 4,
    decoder_layers: int = 4,
    encoder_heads: int = 6,
    decoder_heads: int = 6,
    encoder_feed_forward: int = 1536,
    decoder_feed_forward: int = 1536,
    activation: str = "gelu",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    activation_dropout: float = 0.0,
    pad_token_id: int | None = 50257,
    eos_token_id: int | Sequence[int] | None = 50257,
    decoder_start_token_id: int | None = 50258,
    head: str = "lm",
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Whisper:
    """Builds a Whisper; the defaults are those of the smallest, whisper-tiny.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        mel_bins: Number of mel bins in a frame of the spectrogram.
        source_length: Number of the encoder's states, of two frames each.
        max_length: Longest text, in tokens.
        width: Size of the hidden states; even.
        encoder_layers: Number of layers in the encoder.
        decoder_layers: Number of layers in the decoder.
        encoder_heads: Number of attention heads in the encoder; divides the width.
        decoder_heads: Number of attention heads in the decoder; divides the width.
        encoder_feed_forward: Size of the hidden layer between two dense layers of the encoder.
        decoder_feed_forward: The same of the decoder.
        activation: Name of the activation between them; that of the convolutions is the exact GELU.
        dropout: Rate after the embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        activation_dropout: Rate after the activation between the dense layers.
        pad_token_id: Id of the padding token.
        eos_token_id: Ids of the tokens that end a text.
        decoder_start_token_id: Id of the token that a text begins with.
        head: "lm" for logits of the next token, "none" for the states of both sides.
        scan: If true, runs the layers in loops over stacked arrays: deep models compile sooner, and
            generate more slowly.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head or activation, or heads that do not divide the width.
    """
    check_choices(head=(head, HEADS))
    for heads in (encoder_heads, decoder_heads):
        if width % heads or width % 2:
            raise ZooError(f"width={width}: expected an even number that {heads} heads can share.")
    settings = partial(
        Settings,
        width=width,
        activation=check_activation(activation),
        dropout=dropout,
        attention_dropout=attention_dropout,
        activation_dropout=activation_dropout,
        dtype=None,
        key_bias=False,
    )
    return Whisper(
        vocab_size=vocab_size,
        mel_bins=mel_bins,
        source_length=source_length,
        max_length=max_length,
        encoder_series=LayerStack(encoder_layers, scan=scan, remat=remat),
        decoder_series=LayerStack(decoder_layers, scan=scan, remat=remat),
        encoder_settings=settings(heads=encoder_heads, feed_forward=encoder_feed_forward),
        decoder_settings=settings(heads=decoder_heads, feed_forward=decoder_feed_forward),
        head=head,
        pad_token_id=pad_token_id,
        eos_token_id=stop_ids(eos_token_id),
        decoder_start_token_id=decoder_start_token_id,
        dtype=dtype,
    )
