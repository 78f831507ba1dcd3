"""Decoder-only language models with attention beside the MLP: GPT-NeoX and Pythia.

Black et al., https://arxiv.org/abs/2204.06745; the attributes have the names of the Hub's files.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._inference.generate import generate
from zoo._nn import layers
from zoo._nn.attention import attention, weights_dropout
from zoo._nn.caches import Cache, Caches
from zoo._nn.decoder import Decoder
from zoo._nn.layer_stack import LayerStack
from zoo._nn.options import check_choices
from zoo._nn.rope import Rope, Waves, parsed
from zoo._nn.rope_attributes import with_rope
from zoo._nn.rotary import turn
from zoo._registry.family import ConfigFields

__all__ = ["GPTNeoX", "create", "generate"]

_BASE = ((r"^(embed_in|layers|final_layer_norm)\.", r"gpt_neox.\1."),)
TORCH_NAMES = {
    "transformers": _BASE,
    "transformers_model": (),  # GPTNeoXModel
    "transformers_5": (*_BASE, (r"^embed_out\.", "lm_head.")),
}
IGNORED = {
    r"(.*\.)?attention\.(masked_)?bias": "causal masks, which are computed",
    r"(.*\.)?rotary_emb\.inv_freq": "frequencies, which are computed",
    r"(embed_out|lm_head)\..*": "the language model's head",
    r"(score|classifier)\..*": "the head of a classifier",
}
TIED = {"embed_out.weight": "embed_in.weight", "lm_head.weight": "embed_in.weight"}
TENSOR_PARALLEL = {
    "embed_in/embedding": ("model", None),
    "embed_out/kernel": (None, "model"),
    "(query_key_value|dense_h_to_4h)/kernel": (None, "model"),
    "(query_key_value|dense_h_to_4h)/bias": ("model",),
    "(dense|dense_4h_to_h)/kernel": ("model", None),
}
HEAD = ("score", "classifier")
CLASSIFIER = {"head": "classification"}
CLASSIFYING = ("classification", "token_classification")
TASKS = {
    "lm": "text-generation",
    "classification": "text-classification",
    "token_classification": "token-classification",
}
_HEADS = (*TASKS, "none")
_ABSENT = {"max_position_embeddings": 2048, "eos_token_id": 2}


def _read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with rotary positions as transformers 5 has them."""
    found = {**_ABSENT, **config}
    base, part = found.pop("rotary_emb_base", 10000), found.pop("rotary_pct", 0.25)
    return with_rope({"rope_theta": base, "partial_rotary_factor": part, **found})


CONFIG_FIELDS = {
    "gpt_neox": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "hidden_size": "width",
            "num_hidden_layers": "depth",
            "num_attention_heads": "heads",
            "intermediate_size": "feed_forward",
            "hidden_act": "activation",
            "layer_norm_eps": "epsilon",
            "rope_parameters": "rope",
            "use_parallel_residual": "parallel",
            "attention_bias": "attention_bias",
            "hidden_dropout": "dropout",
            "attention_dropout": "attention_dropout",
            "classifier_dropout": "classifier_dropout",
            "tie_word_embeddings": "tied",
            "pad_token_id": "pad_token_id",
        },
        heads={
            "GPTNeoXModel": {"head": "none"},
            "GPTNeoXForCausalLM": {"head": "lm"},
            "GPTNeoXForSequenceClassification": {"head": "classification"},
            "GPTNeoXForTokenClassification": {"head": "token_classification"},
        },
        layouts={"GPTNeoXModel": "transformers_model", "": "transformers"},
        classifies=True,
        read=_read,
    )
}


class Settings(NamedTuple):
    """Sizes and options that all blocks share; `create` says what they are."""

    series: LayerStack
    width: int
    heads: int
    feed_forward: int
    activation: str
    epsilon: float
    parallel: bool
    attention_bias: bool
    dropout: float
    attention_dropout: float
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(self.epsilon, self.dtype, use_fast_variance=False)

    def dense(self, features: int, *, bias: bool = True) -> nn.Dense:
        """Builds a dense layer."""
        start = nn.initializers.normal(0.02)
        return nn.Dense(features, use_bias=bias, dtype=self.dtype, kernel_init=start)


class Context(NamedTuple):
    """Arguments that are the same for every block.

    Attributes:
        waves: Turns queries and keys by their positions.
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        column: Column of the caches, if there are any, that the token goes to.
        train: If true, dropout is applied.
    """

    waves: Waves
    mask: jax.Array | None
    column: jax.Array | int
    train: bool


class Attention(nn.Module):
    """Causal self-attention; each head has its queries, keys and values next to each other."""

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        self.query_key_value = settings.dense(3 * settings.width, bias=settings.attention_bias)
        self.dense = settings.dense(settings.width, bias=settings.attention_bias)
        self.dropout = nn.Dropout(settings.attention_dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        parts = self.query_key_value(x).reshape(*x.shape[:2], self.settings.heads, -1)
        query, key, value = jnp.split(parts, 3, axis=-1)
        query, key = (turn(each, *context.waves) for each in (query, key))
        made = Cache(key.swapaxes(1, 2), value.swapaxes(1, 2))
        if cache is not None:
            made = cache.written(made, context.column)
        out = attention(
            query,
            made.keys.swapaxes(1, 2),
            made.values.swapaxes(1, 2),
            mask=context.mask,
            is_causal=cache is None,
            dropout=weights_dropout(self.dropout, train=context.train),
        )
        return self.dense(out.reshape(x.shape)), made


class MLP(nn.Module):
    """Two dense layers."""

    settings: Settings

    def setup(self) -> None:
        self.dense_h_to_4h = self.settings.dense(self.settings.feed_forward)
        self.dense_4h_to_h = self.settings.dense(self.settings.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        out: jax.Array = self.dense_4h_to_h(
            layers.ACTIVATIONS[self.settings.activation](self.dense_h_to_4h(x))
        )
        return out


class Block(nn.Module):
    """Attention and an MLP, of the same states or one after the other."""

    settings: Settings

    def setup(self) -> None:
        self.input_layernorm, self.post_attention_layernorm = self.settings.norm(), self.settings.norm()
        self.attention, self.mlp = Attention(self.settings), MLP(self.settings)
        self.dropout = nn.Dropout(self.settings.dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        drop = partial(self.dropout, deterministic=not context.train)
        out, made = self.attention(self.input_layernorm(x), context, cache)
        after = x + drop(out)
        seen = x if self.settings.parallel else after
        return after + drop(self.mlp(self.post_attention_layernorm(seen))), made


class GPTNeoX(Decoder):
    """Token embeddings, blocks, a norm, and one of the heads that `create` names."""

    settings: Settings
    rotary: Rope
    tied: bool
    num_classes: int = 2
    eos_token_id: tuple[int, ...] = ()
    classifier_dropout: float = 0.1
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        start = nn.initializers.normal(0.02)
        self.embed_in = nn.Embed(self.vocab_size, settings.width, dtype=self.dtype, embedding_init=start)
        self.emb_dropout = nn.Dropout(settings.dropout)
        self.layers = settings.series.build(partial(Block, settings))
        self.final_layer_norm = settings.norm()
        self.embed_out = settings.dense(self.vocab_size, bias=False)
        self.score = settings.dense(self.num_classes, bias=False)
        self.classifier = settings.dense(self.num_classes)
        self.dropout = nn.Dropout(self.classifier_dropout)

    def _logits(self, states: jax.Array) -> jax.Array:
        logits: jax.Array = self.embed_in.attend(states) if self.tied else self.embed_out(states)
        return logits

    def _classes(self, states: jax.Array) -> jax.Array:
        logits: jax.Array = self.classifier(states)
        return logits

    def _states(
        self,
        ids: jax.Array,
        places: jax.Array,
        lengths: jax.Array,
        mask: jax.Array | None,
        column: jax.Array | int,
        caches: Caches | None,
        *,
        train: bool,
    ) -> tuple[jax.Array, Caches]:
        dtype = self.embed_in.embedding.dtype if self.dtype is None else self.dtype
        waves = self.rotary.waves(places, lengths, self.settings.width // self.settings.heads, dtype)
        context = Context(waves, mask, column, train)
        x = self.emb_dropout(self.embed_in(ids), deterministic=not train)
        x, made = self.settings.series.scan_with(
            self.layers, lambda block, x, cache: block(x, context, cache), x, caches
        )
        return self.final_layer_norm(x), made


def create(
    *,
    vocab_size: int = 50432,
    max_length: int = 2048,
    width: int = 6144,
    depth: int = 44,
    heads: int = 64,
    feed_forward: int = 24576,
    activation: str = "gelu",
    epsilon: float = 1e-5,
    rope: Mapping[str, Any] | None = None,
    parallel: bool = True,
    attention_bias: bool = True,
    tied: bool = False,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    classifier_dropout: float = 0.1,
    pad_token_id: int | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    head: str = "lm",
    num_classes: int = 2,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> GPTNeoX:
    """Builds a GPT-NeoX; the defaults are those of the one with 20 billion parameters.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest sequence, in tokens.
        width: Size of the embeddings and hidden states.
        depth: Number of blocks.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a block's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        rope: Rotary positions, as for `zoo.llama.create`; by default a quarter of a head turns.
        parallel: If true, attention and MLP read the same states; else the MLP reads those after attention.
        attention_bias: If true, the dense layers of attention have biases.
        tied: If true, the head "lm" is the token embeddings.
        dropout: Rate after the embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifier of tokens.
        pad_token_id: Id of the padding token, if there is any; the head "classification" reads the last
            token that is another one, and that the mask keeps.
        eos_token_id: Ids of the tokens that end a text, which `generate` then stops at.
        head: "lm" for logits of the next token, "none" for hidden states, "classification" and
            "token_classification" for logits of classes.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner, and
            generate more slowly.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head, activation or kind of positions, or heads that do not divide the width.
    """
    check_choices(head=(head, _HEADS))
    if width % heads:
        raise ZooError(f"{heads} heads do not divide a width of {width}.")
    settings = Settings(
        series=LayerStack(depth, scan=scan, remat=remat),
        width=width,
        heads=heads,
        feed_forward=feed_forward,
        activation=layers.check_activation(activation),
        epsilon=epsilon,
        parallel=parallel,
        attention_bias=attention_bias,
        dropout=dropout,
        attention_dropout=attention_dropout,
        dtype=None,
    )
    return GPTNeoX(
        vocab_size=vocab_size,
        max_length=max_length,
        settings=settings,
        rotary=parsed({"partial_rotary_factor": 0.25, **(rope or {})}),
        tied=tied,
        head=head,
        num_classes=num_classes,
        pad_token_id=pad_token_id,
        eos_token_id=tuple(int(each) for each in np.atleast_1d([] if eos_token_id is None else eos_token_id)),
        classifier_dropout=classifier_dropout,
        dtype=dtype,
    )
