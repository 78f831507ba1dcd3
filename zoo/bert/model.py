"""Encoders of text: BERT, RoBERTa, DistilBERT, and the embeddings of sentences that are made with them.

Devlin et al., https://arxiv.org/abs/1810.04805; Liu et al., https://arxiv.org/abs/1907.11692; Sanh et al.,
https://arxiv.org/abs/1910.01108; Reimers and Gurevych, https://arxiv.org/abs/1908.10084 (section 3). The
attributes have the names of the Hub's files of BERT.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.attention import key_mask
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._nn.outputs import TextOutput
from zoo.bert.layers import Embeddings, Encoder, LanguageModel, Pooler, Settings

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "word_embeddings/embedding": ("model", None),
    "(query|key|value|intermediate/dense)/kernel": (None, "model"),
    "(query|key|value|intermediate/dense)/bias": ("model",),
    "output/dense/kernel": ("model", None),
}
HEAD, NECK = ("classifier",), ("pooler", "pre_classifier")
CLASSIFIER = {"head": "classification"}
TASKS = {
    "masked_lm": "fill-mask",
    "classification": "text-classification",
    "embedding": "sentence-similarity",
}
HEADS = ("none", "pooler", "masked_lm", "classification", "embedding")
POOLING = ("cls", "mean", "max", "mean_sqrt_len")


class Variant(NamedTuple):
    """Differences between BERT, RoBERTa and DistilBERT, apart from sizes.

    Attributes:
        offset: If true, positions begin behind the padding token's id, which is padding's position.
        pools: If true, classifiers read the pooler's output; else that of a dense layer of their own.
        activation: Activation after that dense layer.
        drops: If true, dropout precedes that dense layer.
        drops_attention: If true, dropout follows the attention's output layer.
    """

    offset: bool = False
    pools: bool = False
    activation: str = "tanh"
    drops: bool = False
    drops_attention: bool = True


VARIANTS = {
    "bert": Variant(pools=True),
    "roberta": Variant(offset=True, drops=True),
    "distilbert": Variant(activation="relu", drops_attention=False),
}


def pooled(states: jax.Array, mask: jax.Array, pooling: str) -> jax.Array:
    """Pools (batch, length, width) states, those that the (batch, length) mask keeps, to (batch, width)."""
    if pooling == "cls":
        return states[:, 0]
    kept = mask[..., None].astype(bool)
    if pooling == "max":
        return jnp.where(kept, states, -1e9).max(1)
    count = jnp.maximum(kept.sum(1), 1e-9).astype(states.dtype)
    return jnp.where(kept, states, 0).sum(1) / (jnp.sqrt(count) if pooling == "mean_sqrt_len" else count)


class Bert(nn.Module):
    """Embeddings, an encoder and one of HEADS."""

    vocab_size: int
    max_length: int
    token_types: int
    series: LayerStack
    settings: Settings
    variant: str
    pad_token_id: int
    head: str
    num_classes: int
    classifier_dropout: float
    pooling: str
    normalize: bool
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings, variant = self.settings._replace(dtype=self.dtype), VARIANTS[self.variant]
        self.embeddings = Embeddings(
            settings=settings,
            vocab_size=self.vocab_size,
            max_length=self.max_length,
            token_types=self.token_types,
        )
        self.encoder = Encoder(settings, self.series, drops_attention=variant.drops_attention)
        self.pooler = Pooler(settings)
        # RoBERTa's has the exact GELU whatever the activation of the layers is.
        activation = "gelu" if self.variant == "roberta" else settings.activation
        self.cls = LanguageModel(settings, self.vocab_size, activation)
        self.pre_classifier = settings.dense(settings.width)
        self.classifier = settings.dense(self.num_classes)
        self.dropout = nn.Dropout(self.classifier_dropout)

    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> TextOutput:
        """(batch, length) token ids -> the outputs of the head.

        Args:
            input_ids: (batch, length) token ids.
            attention_mask: (batch, length), 1 for tokens to keep and 0 for padding.
            position_ids: (batch, length) positions; by default 0, 1, 2 ..., offset as RoBERTa's are.
            token_type_ids: (batch, length), the text of a pair that a token belongs to; by default the first.
            train: Whether to apply dropout, by the RNG stream "dropout".
        """
        positions = self._positions(input_ids) if position_ids is None else position_ids
        x = self.embeddings(input_ids, positions, token_type_ids, train=train)
        x = self.encoder(x, key_mask(attention_mask), train=train)
        if self.head == "masked_lm":
            return TextOutput(logits=self.cls(x, self.embeddings.word_embeddings))
        if self.head == "classification":
            return TextOutput(logits=self._classify(x, train))
        if self.head == "embedding":
            mask = jnp.ones_like(input_ids) if attention_mask is None else attention_mask
            vectors = pooled(x, mask, self.pooling)
            length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
            return TextOutput(embeddings=vectors / jnp.maximum(length, 1e-12) if self.normalize else vectors)
        return TextOutput(
            last_hidden_state=x, pooler_output=self.pooler(x) if self.head == "pooler" else None
        )

    def _positions(self, input_ids: jax.Array) -> jax.Array:
        length, most = input_ids.shape[1], max_tokens(self)
        if length > most:
            raise ZooError(f"texts of {length} tokens; the model takes at most {most}.")
        if not VARIANTS[self.variant].offset:
            return jnp.arange(length)[None]
        kept = jnp.asarray(input_ids != self.pad_token_id, jnp.int32)
        return jnp.cumsum(kept, axis=1) * kept + self.pad_token_id

    def _classify(self, states: jax.Array, train: bool) -> jax.Array:
        variant = VARIANTS[self.variant]
        if variant.pools:
            x = self.pooler(states)
        else:
            x = self.dropout(states[:, 0], deterministic=not (train and variant.drops))
            x = ACTIVATIONS[variant.activation](self.pre_classifier(x))
        logits: jax.Array = self.classifier(self.dropout(x, deterministic=not train))
        return logits


def max_tokens(module: Bert) -> int:
    """The largest number of tokens in a text: RoBERTa's positions begin behind the padding token's id."""
    return module.max_length - (module.pad_token_id + 1) * VARIANTS[module.variant].offset


def create(
    *,
    variant: str = "bert",
    vocab_size: int = 30522,
    max_length: int = 512,
    token_types: int = 2,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int = 3072,
    activation: str = "gelu",
    epsilon: float = 1e-12,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    classifier_dropout: float | None = None,
    pad_token_id: int = 0,
    head: str = "pooler",
    num_classes: int = 2,
    pooling: str = "mean",
    normalize: bool = False,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Bert:
    """Builds an encoder of text; the defaults are bert-base-uncased's.

    Args:
        variant: Architecture, one of VARIANTS.
        vocab_size: Number of tokens in the vocabulary.
        max_length: Number of position embeddings.
        token_types: Number of token type embeddings; DistilBERT has none.
        width: Size of the embeddings and hidden states.
        depth: Number of layers.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a layer's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        dropout: Rate after the embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifier; by default `dropout`.
        pad_token_id: Id of the padding token, behind which RoBERTa's positions begin.
        head: "none" gives states, "pooler" these and the pooled first one, "masked_lm" and "classification"
            logits, "embedding" one vector a text.
        num_classes: Number of the classifier's logits.
        pooling: Reduction of states to an embedding, one of POOLING.
        normalize: Whether to scale embeddings to length 1.
        scan: Whether to run the layers in a loop over stacked arrays: deep models compile sooner.
        remat: Whether to recompute a layer's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such variant, head, pooling or activation, or heads that do not divide the width.
    """
    for name, value, choices in (
        ("variant", variant, VARIANTS),
        ("head", head, HEADS),
        ("pooling", pooling, POOLING),
    ):
        if value not in choices:
            raise ZooError(f"no {name} {value!r}; choose one of {', '.join(choices)}.")
    if width % heads:
        raise ZooError(f"{heads} heads do not divide a width of {width}.")
    if head == "pooler" and variant == "distilbert":
        raise ZooError("DistilBERT has no pooler; choose another head.")
    check_activation(activation)
    return Bert(
        vocab_size=vocab_size,
        max_length=max_length,
        token_types=token_types,
        series=LayerStack(depth, scan=scan, remat=remat),
        settings=Settings(
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            activation=activation,
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
            dtype=None,
        ),
        variant=variant,
        pad_token_id=pad_token_id,
        head=head,
        num_classes=num_classes,
        classifier_dropout=dropout if classifier_dropout is None else classifier_dropout,
        pooling=pooling,
        normalize=normalize,
        dtype=dtype,
    )
