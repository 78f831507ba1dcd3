"""Encoders of speech, and the characters that they write down: wav2vec 2.0 and HuBERT.

Baevski et al., https://arxiv.org/abs/2006.11477; Hsu et al., https://arxiv.org/abs/2106.07447. The attributes
have the names of the Hub's files.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.images import check_floats
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.outputs import TextOutput
from zoo._nn.tokens import like_ids
from zoo.wav2vec2.layers import (
    NORMS,
    Convolutions,
    Encoder,
    FeatureExtractor,
    FeatureProjection,
    Settings,
)

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "([qkv]_proj|intermediate_dense)/kernel": (None, "model"),
    "([qkv]_proj|intermediate_dense)/bias": ("model",),
    "(out_proj|output_dense)/kernel": ("model", None),
}
TASKS = {"ctc": "automatic-speech-recognition", "none": "feature-extraction"}
HEADS = (*TASKS,)


class Wav2Vec2(nn.Module):
    """Convolutions over samples, an encoder, and one of HEADS."""

    vocab_size: int
    convolutions: Convolutions
    settings: Settings
    series: LayerStack
    positions: tuple[int, int]
    projection_dropout: float
    final_dropout: float
    head: str
    pad_token_id: int | None = 0
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        self.feature_extractor = FeatureExtractor(self.convolutions, self.dtype)
        self.feature_projection = FeatureProjection(settings, self.projection_dropout)
        self.encoder = Encoder(
            settings=settings,
            series=self.series,
            positions=self.positions,
            activation=self.convolutions.activation,
        )
        self.dropout = nn.Dropout(self.final_dropout)
        self.lm_head = settings.dense(self.vocab_size)

    def __call__(
        self, input_values: jax.Array, attention_mask: jax.Array | None = None, *, train: bool = False
    ) -> TextOutput:
        """(batch, samples) sound -> (batch, frames, vocab_size) logits, or states where the head is "none".

        Training leaves out no layers and masks no steps, as transformers can do.

        Args:
            input_values: (batch, samples) at 16,000 a second, as `zoo.preprocess` makes them.
            attention_mask: (batch, samples), 1 for samples to keep and 0 for silence at the end. Models whose
                norm of convolutions is "group" were trained without one.
            train: If true, applies dropout, by the RNG stream "dropout".

        Raises:
            ZooError: too short a sound, or another shape.
        """
        samples = jnp.asarray(input_values)
        check_floats(samples.dtype, "input_values")
        if samples.ndim != 2 or int(self.convolutions.frames(samples.shape[-1])) < 1:
            raise ZooError(
                f"input_values of shape {samples.shape}; expected (batch, samples), as many as make "
                "a frame, 400 in the models of the Hub."
            )
        mask = like_ids(attention_mask, samples, "attention_mask", of="input_values")
        features = self.feature_extractor(samples)
        kept = None
        if mask is not None:
            lengths = self.convolutions.frames(mask.astype(jnp.int32).sum(-1))
            kept = jnp.arange(features.shape[1])[None] < jnp.asarray(lengths)[:, None]
        x = self.encoder(self.feature_projection(features, train=train), kept, train=train)
        if self.head == "none":
            return TextOutput(last_hidden_state=x)
        return TextOutput(logits=self.lm_head(self.dropout(x, deterministic=not train)))


def create(
    *,
    vocab_size: int = 32,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int = 3072,
    activation: str = "gelu",
    epsilon: float = 1e-5,
    norm_first: bool = False,
    conv_channels: Sequence[int] = (512,) * 7,
    conv_kernels: Sequence[int] = (10, 3, 3, 3, 3, 2, 2),
    conv_strides: Sequence[int] = (5, 2, 2, 2, 2, 2, 2),
    conv_bias: bool = False,
    conv_norm: str = "group",
    conv_activation: str = "gelu",
    position_kernel: int = 128,
    position_groups: int = 16,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    activation_dropout: float = 0.1,
    projection_dropout: float = 0.0,
    final_dropout: float = 0.1,
    pad_token_id: int | None = 0,
    head: str = "ctc",
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Wav2Vec2:
    """Builds a wav2vec 2.0 or HuBERT; the defaults are wav2vec2-base-960h's.

    Args:
        vocab_size: Number of characters, special tokens included.
        width: Size of the hidden states.
        depth: Number of layers.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the encoder's layer norms.
        norm_first: If true, norms precede attention and dense layers, as in the large models.
        conv_channels: Outputs of each convolution over samples.
        conv_kernels: Number of inputs that each sees.
        conv_strides: Step between its places.
        conv_bias: If true, they have a bias.
        conv_norm: "group" for a norm over time after the first of them, "layer" for one after each.
        conv_activation: Name of the activation after them, and after the convolution of positions.
        position_kernel: Frames that the convolution of positions sees.
        position_groups: Groups of its channels that do not see each other.
        dropout: Rate before each residual connection.
        attention_dropout: Rate of the attention weights.
        activation_dropout: Rate after the activation between the dense layers.
        projection_dropout: Rate before the encoder.
        final_dropout: Rate before the logits.
        pad_token_id: Id of the token that stands for no character.
        head: "ctc" for logits of characters, "none" for hidden states.
        scan: If true, runs the layers in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head, norm or activation, or sizes that do not fit each other.
    """
    check_choices(head=(head, HEADS), conv_norm=(conv_norm, NORMS))
    counts = {len(conv_channels), len(conv_kernels), len(conv_strides)}
    check_options(
        ("heads", heads, heads and width % heads == 0, f"a divisor of the width, {width}"),
        (
            "position_groups",
            position_groups,
            width % position_groups == 0,
            f"a divisor of the width, {width}",
        ),
        ("conv_kernels", conv_kernels, len(counts) == 1, "as many as conv_channels and conv_strides"),
    )
    return Wav2Vec2(
        vocab_size=vocab_size,
        convolutions=Convolutions(
            channels=tuple(conv_channels),
            kernels=tuple(conv_kernels),
            strides=tuple(conv_strides),
            bias=conv_bias,
            norm=conv_norm,
            activation=check_activation(conv_activation),
        ),
        settings=Settings(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=check_activation(activation),
            epsilon=epsilon,
            norm_first=norm_first,
            dropout=dropout,
            attention_dropout=attention_dropout,
            activation_dropout=activation_dropout,
            dtype=None,
        ),
        series=LayerStack(depth, scan=scan, remat=remat),
        positions=(position_kernel, position_groups),
        projection_dropout=projection_dropout,
        final_dropout=final_dropout,
        head=head,
        pad_token_id=pad_token_id,
        dtype=dtype,
    )
