"""Encoder of text with rotary positions, and attention that is local in most layers: ModernBERT.

Warner et al., https://arxiv.org/abs/2412.13663. The attributes have the names of the Hub's files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import key_mask
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.text_pooling import pooled
from zoo.bert.parts import Sizes
from zoo.bert.text_encoder import Parts, TextEncoder, text_encoder
from zoo.modernbert.layers import Embeddings, Layer, Settings, View
from zoo.modernbert.layouts import layer_types as every_third

TENSOR_PARALLEL = {
    "tok_embeddings/embedding": ("model", None),
    "(Wqkv|Wi)/kernel": (None, "model"),
    "(Wqkv|Wi)/bias": ("model",),
    "(attn|mlp)/Wo/kernel": ("model", None),
}
LAYER_TYPES = ("full_attention", "sliding_attention")


class Base(nn.Module):
    """Embeddings, layers and a norm."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings = self.settings
        self.embeddings = Embeddings(settings, self.dtype)
        self.layers = [Layer(settings, self.dtype, normed=index > 0) for index in range(settings.depth)]
        self.final_norm = settings.norm(self.dtype)

    def __call__(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None,
        positions: jax.Array | None,
        *,
        train: bool,
    ) -> jax.Array:
        """(batch, length) token ids -> (batch, length, width) states of the last layer."""
        settings = self.settings
        positions = jnp.arange(ids.shape[1])[None] if positions is None else positions
        x = self.embeddings(ids, train=train)
        kept, size = key_mask(mask), settings.width // settings.heads
        views = {
            "full_attention": View.of(positions, kept, size, settings.global_rope_theta, None, x.dtype),
            "sliding_attention": View.of(
                positions, kept, size, settings.local_rope_theta, settings.window // 2, x.dtype
            ),
        }
        x, _ = LayerStack(settings.depth, remat=settings.remat).scan_with(
            self.layers,
            lambda layer, x, view: (layer(x, view, train=train), None),
            x,
            [views[kind] for kind in settings.layer_types],
        )
        out: jax.Array = self.final_norm(x)
        return out

    def words(self) -> nn.Embed:
        """Returns the token embeddings."""
        found: nn.Embed = self.embeddings.tok_embeddings
        return found


class Prediction(nn.Module):
    """Dense layer, activation and norm before the last layer of each head."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        settings = self.settings
        self.dense = settings.dense(settings.width, self.dtype, bias=settings.head_bias, out=True)
        self.norm = settings.norm(self.dtype)
        self.drop = nn.Dropout(settings.classifier_dropout)

    def __call__(self, states: jax.Array, *, train: bool) -> jax.Array:
        """(..., width) -> the same shape."""
        x = self.norm(ACTIVATIONS[self.settings.head_activation](self.dense(states)))
        out: jax.Array = self.drop(x, deterministic=not train)
        return out


class Words(nn.Module):
    """Logits over the vocabulary, by the token embeddings and perhaps a bias."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.head = Prediction(self.settings._replace(classifier_dropout=0.0), self.dtype)
        if self.settings.word_bias:
            self.bias = self.param("bias", nn.initializers.zeros, (self.settings.vocab_size,))

    def __call__(self, states: jax.Array, words: nn.Embed) -> jax.Array:
        """(batch, length, width) -> (batch, length, vocab_size)."""
        logits = words.attend(self.head(states, train=False))
        return logits + self.bias.astype(logits.dtype) if self.settings.word_bias else logits


class Tokens(nn.Module):
    """Returns the input of a classifier of tokens."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.head = Prediction(self.settings, self.dtype)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        out: jax.Array = self.head(states, train=train)
        return out


class Texts(nn.Module):
    """Returns the input of a classifier of texts: of the first state, or of the mean of those kept."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.head = Prediction(self.settings, self.dtype)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        # The first column, even where it is padding.
        first = self.settings.classifier_pooling == "cls"
        out: jax.Array = self.head(states[:, 0] if first else _pooled(states, mask, "mean"), train=train)
        return out


class Choices(nn.Module):
    """Returns the states behind the logit of a choice: the first that the mask keeps, or their mean."""

    settings: Settings
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.head = Prediction(self.settings, self.dtype)

    def __call__(self, states: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """(batch, length, width) -> (batch, width)."""
        out: jax.Array = self.head(_pooled(states, mask, self.settings.classifier_pooling), train=train)
        return out


def _pooled(states: jax.Array, mask: jax.Array | None, pooling: str) -> jax.Array:
    return pooled(states, jnp.ones(states.shape[:2], jnp.int32) if mask is None else mask, pooling)


_PARTS = Parts(base=Base, words=Words, texts=Texts, tokens=Tokens, answers=Tokens, choices=Choices)


def create(
    *,
    vocab_size: int = 50368,
    max_length: int = 8192,
    width: int = 768,
    depth: int = 22,
    heads: int = 12,
    feed_forward: int = 1152,
    activation: str = "gelu",
    layer_types: Sequence[str] | None = None,
    window: int = 128,
    global_rope_theta: float = 160_000.0,
    local_rope_theta: float = 10_000.0,
    epsilon: float = 1e-5,
    norm_bias: bool = False,
    attention_bias: bool = False,
    mlp_bias: bool = False,
    word_bias: bool = True,
    head_bias: bool = False,
    head_activation: str = "gelu",
    classifier_pooling: str = "cls",
    embedding_dropout: float = 0.0,
    attention_dropout: float = 0.0,
    mlp_dropout: float = 0.0,
    classifier_dropout: float = 0.0,
    head: str = "none",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "mean",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> TextEncoder:
    """Builds a ModernBERT; the defaults are ModernBERT-base's.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest text of the training, in tokens; texts are cut there, and positions go on.
        width: Size of the embeddings and hidden states.
        depth: Number of layers.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation of its values, which gates are multiplied with.
        layer_types: Kind of attention in each layer, one of LAYER_TYPES; by default the first and every third
            are global.
        window: Number of tokens that local attention sees, half of them to either side.
        global_rope_theta: Base of the rotary frequencies where attention is global.
        local_rope_theta: The same where it is local.
        epsilon: Epsilon of the layer norms.
        norm_bias: If true, norms have a bias.
        attention_bias: If true, the dense layers of attention have one.
        mlp_bias: If true, the two dense layers after it have one.
        word_bias: If true, logits of tokens have one.
        head_bias: If true, the dense layer that begins the heads has one.
        head_activation: Name of the activation after that layer.
        classifier_pooling: Reduction of states for classes and choices, "cls" or "mean".
        embedding_dropout: Rate after the embeddings.
        attention_dropout: Rate of the attention weights, and after attention.
        mlp_dropout: Rate before the second dense layer.
        classifier_dropout: Rate before the classifiers.
        head: "none" gives states, "embedding" one vector a text, "masked_lm" logits of tokens;
            "classification" and "token_classification" logits of classes, "question_answering" logits of an
            answer's start and end, "multiple_choice" one logit a choice.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        pooling: Reduction of states to an embedding, one of zoo.bert.POOLING, or several.
        projections: Dense layers after the pooling, each with `features`, `activation` and `use_bias`.
        normalize: If true, scales embeddings to length 1.
        remat: If true, recomputes a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head, pooling, activation or kind of attention, or heads that do not divide the
            width.
    """
    kinds = every_third(depth, 3) if layer_types is None else tuple(layer_types)
    if len(kinds) != depth:
        raise ZooError(f"layer_types has {len(kinds)} kinds of attention for a depth of {depth}.")
    check_choices(
        **{f"layer_types[{index}]": (kind, LAYER_TYPES) for index, kind in enumerate(kinds)},
        classifier_pooling=(classifier_pooling, ("cls", "mean")),
    )
    check_options(
        ("heads", heads, heads > 0 and width % (2 * heads) == 0, f"heads of even size in a width of {width}")
    )
    settings = Settings(
        vocab_size=vocab_size,
        width=width,
        depth=depth,
        heads=heads,
        feed_forward=feed_forward,
        activation=check_activation(activation),
        layer_types=kinds,
        window=window,
        global_rope_theta=global_rope_theta,
        local_rope_theta=local_rope_theta,
        epsilon=epsilon,
        norm_bias=norm_bias,
        attention_bias=attention_bias,
        mlp_bias=mlp_bias,
        word_bias=word_bias,
        head_bias=head_bias,
        head_activation=check_activation(head_activation),
        classifier_pooling=classifier_pooling,
        embedding_dropout=embedding_dropout,
        attention_dropout=attention_dropout,
        mlp_dropout=mlp_dropout,
        classifier_dropout=classifier_dropout,
        remat=remat,
    )
    return text_encoder(
        _PARTS,
        settings,
        Sizes(vocab_size, max_length),
        head=head,
        num_classes=num_classes,
        pooling=pooling,
        projections=projections,
        normalize=normalize,
        dtype=dtype,
    )
