"""Decoder-only language models with learned positions and ReLU: OPT.

Zhang et al., https://arxiv.org/abs/2205.01068; the attributes have the names of the Hub's files.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._inference.generate import generate
from zoo._nn import layers
from zoo._nn.attention import weights_dropout
from zoo._nn.caches import Cache, Caches, causal_attention
from zoo._nn.decoder import Decoder, token_logits
from zoo._nn.layer_stack import LayerStack
from zoo._nn.options import check_choices
from zoo._nn.tokens import stop_ids
from zoo._registry.family import ConfigFields

__all__ = ["OPT", "create", "generate"]

_TOP = r"^(embed_tokens|embed_positions|project_in|project_out|final_layer_norm|layers)\."
TORCH_NAMES = {
    "transformers": ((_TOP, r"model.decoder.\1."),),
    "transformers_model": ((_TOP, r"decoder.\1."),),  # OPTModel, and facebook/opt-125m
}
IGNORED = {
    r"lm_head\..*": "the language model's head",
    r"(score|qa_outputs)\..*": "the head of a classifier",
}
TIED = {"lm_head.weight": "embed_tokens.weight"}
TENSOR_PARALLEL = {
    "embed_tokens/embedding": ("model", None),
    "([qkv]_proj|fc1)/kernel": (None, "model"),
    "([qkv]_proj|fc1)/bias": ("model",),
    "(out_proj|fc2)/kernel": ("model", None),
}
HEAD = ("score",)
CLASSIFIER = {"head": "classification"}
CLASSIFYING = ("classification",)
TASKS = {"lm": "text-generation", "classification": "text-classification"}
_HEADS = (*TASKS, "none")
_OFFSET = 2  # rows before that of the first position, one of which is that of padding

CONFIG_FIELDS = {
    "opt": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "hidden_size": "width",
            "word_embed_proj_dim": "embedding_width",
            "num_hidden_layers": "depth",
            "num_attention_heads": "heads",
            "ffn_dim": "feed_forward",
            "activation_function": "activation",
            "do_layer_norm_before": "norm_first",
            "enable_bias": "bias",
            "layer_norm_elementwise_affine": "affine",
            "dropout": "dropout",
            "attention_dropout": "attention_dropout",
            "pad_token_id": "pad_token_id",
        },
        heads={
            "OPTModel": {"head": "none"},
            "OPTForCausalLM": {"head": "lm"},
            "OPTForSequenceClassification": {"head": "classification"},
        },
        layouts={"OPTModel": "transformers_model", "": "transformers"},
        fixed={"_remove_final_layer_norm": False, "layerdrop": 0.0},
        fixed_for={"lm": {"tie_word_embeddings": True}},
        irrelevant=("activation_dropout", "init_std"),  # transformers drops nothing there
        classifies=True,
        read=lambda config: {"pad_token_id": 1, "eos_token_id": 2, **config},
    )
}


class Settings(NamedTuple):
    """Sizes and options that all blocks share; `create` says what they are."""

    series: LayerStack
    width: int
    embedding_width: int
    heads: int
    feed_forward: int
    activation: str
    norm_first: bool
    bias: bool
    affine: bool
    dropout: float
    attention_dropout: float
    dtype: DTypeLike | None

    def norm(self) -> nn.LayerNorm:
        """Builds a layer norm."""
        return nn.LayerNorm(
            epsilon=1e-5,
            dtype=self.dtype,
            use_bias=self.affine,
            use_scale=self.affine,
            use_fast_variance=False,
        )

    def dense(self, features: int, *, bias: bool) -> nn.Dense:
        """Builds a dense layer."""
        start = nn.initializers.normal(0.02)
        return nn.Dense(features, use_bias=bias, dtype=self.dtype, kernel_init=start)


class Context(NamedTuple):
    """Arguments that are the same for every block.

    Attributes:
        mask: True for tokens to attend to; broadcasts to (batch, heads, queries, keys).
        column: Column of the caches, if there are any, that the token goes to.
        train: If true, dropout is applied.
    """

    mask: jax.Array | None
    column: jax.Array | int
    train: bool


class Attention(nn.Module):
    """Causal self-attention: each token attends to itself and those before it."""

    settings: Settings

    def setup(self) -> None:
        dense = partial(self.settings.dense, self.settings.width, bias=self.settings.bias)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = dense(), dense(), dense(), dense()
        self.dropout = nn.Dropout(self.settings.attention_dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        split = (*x.shape[:2], self.settings.heads, -1)
        query, key, value = (layer(x).reshape(split) for layer in (self.q_proj, self.k_proj, self.v_proj))
        out, made = causal_attention(
            query,
            key,
            value,
            cache,
            context.column,
            mask=context.mask,
            dropout=weights_dropout(self.dropout, train=context.train),
        )
        return self.out_proj(out.reshape(x.shape)), made


class Block(nn.Module):
    """Attention, then two dense layers, each with a residual connection and a norm before or behind it."""

    settings: Settings

    def setup(self) -> None:
        settings = self.settings
        self.self_attn = Attention(settings)
        self.self_attn_layer_norm, self.final_layer_norm = settings.norm(), settings.norm()
        self.fc1 = settings.dense(settings.feed_forward, bias=settings.bias)
        self.fc2 = settings.dense(settings.width, bias=settings.bias)
        self.dropout = nn.Dropout(settings.dropout)

    def __call__(self, x: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache]:
        """(batch, length, width) -> the same shape, and the keys and values."""
        first, drop = self.settings.norm_first, partial(self.dropout, deterministic=not context.train)
        out, made = self.self_attn(self.self_attn_layer_norm(x) if first else x, context, cache)
        x = x + drop(out)
        x = x if first else self.self_attn_layer_norm(x)
        inner = self.fc1(self.final_layer_norm(x) if first else x)
        x = x + drop(self.fc2(layers.ACTIVATIONS[self.settings.activation](inner)))
        return x if first else self.final_layer_norm(x), made


class OPT(Decoder):
    """Token and position embeddings, blocks, and a head that `create` names; that of "lm" is the former."""

    settings: Settings
    num_classes: int = 2
    eos_token_id: tuple[int, ...] = ()
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        start = nn.initializers.normal(0.02)
        embed = partial(nn.Embed, dtype=self.dtype, embedding_init=start)
        self.embed_tokens = embed(self.vocab_size, settings.embedding_width)
        self.embed_positions = embed(self.max_length + _OFFSET, settings.width)
        self.project_in = settings.dense(settings.width, bias=False)
        self.project_out = settings.dense(settings.embedding_width, bias=False)
        self.layers = settings.series.build(partial(Block, settings))
        self.final_layer_norm = settings.norm()
        self.score = settings.dense(self.num_classes, bias=False)

    def _logits(self, states: jax.Array) -> jax.Array:
        logits: jax.Array = token_logits(self.embed_tokens, states)
        return logits

    def _places(self, ids: jax.Array, mask: jax.Array | None) -> jax.Array:
        kept = jnp.ones_like(ids) if mask is None else jnp.broadcast_to(mask, ids.shape).astype(ids.dtype)
        return jnp.cumsum(kept, 1) * kept - 1  # padding has a row of its own

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
        context = Context(mask, column, train)
        projects = self.settings.embedding_width != self.settings.width
        x = self.embed_tokens(ids)
        x = self.project_in(x) if projects else x
        x = x + self.embed_positions(places + _OFFSET)
        x, made = self.settings.series.scan_with(
            self.layers, lambda block, x, cache: block(x, context, cache), x, caches
        )
        x = self.final_layer_norm(x) if self.settings.norm_first else x
        return self.project_out(x) if projects else x, made


def create(
    *,
    vocab_size: int = 50272,
    max_length: int = 2048,
    width: int = 768,
    embedding_width: int | None = None,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int = 3072,
    activation: str = "relu",
    norm_first: bool = True,
    bias: bool = True,
    affine: bool = True,
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
    pad_token_id: int | None = 1,
    eos_token_id: int | Sequence[int] | None = None,
    head: str = "lm",
    num_classes: int = 2,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> OPT:
    """Builds an OPT; the defaults are those of the one with 125 million parameters.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest sequence, in tokens.
        width: Size of the hidden states.
        embedding_width: Size of the token embeddings; by default `width`, and otherwise projected to it.
        depth: Number of blocks.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a block's two dense layers.
        activation: Name of the activation between them.
        norm_first: If true, norms come before attention and dense layers; else behind.
        bias: If true, the dense layers have biases.
        affine: If true, the norms have scales and biases.
        dropout: Rate before each residual connection.
        attention_dropout: Rate of the attention weights.
        pad_token_id: Id of the padding token, if there is any; the head "classification" reads the last
            token that is another one, and that the mask keeps.
        eos_token_id: Ids of the tokens that end a text, which `generate` then stops at.
        head: "lm" for logits of the next token, "none" for hidden states, "classification" for logits of
            classes.
        num_classes: Number of logits of the head "classification".
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner, and
            generate more slowly.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such head or activation, or heads that do not divide the width.
    """
    check_choices(head=(head, _HEADS))
    if width % heads:
        raise ZooError(f"{heads} heads do not divide a width of {width}.")
    settings = Settings(
        series=LayerStack(depth, scan=scan, remat=remat),
        width=width,
        embedding_width=width if embedding_width is None else embedding_width,
        heads=heads,
        feed_forward=feed_forward,
        activation=layers.check_activation(activation),
        norm_first=norm_first,
        bias=bias,
        affine=affine,
        dropout=dropout,
        attention_dropout=attention_dropout,
        dtype=None,
    )
    return OPT(
        vocab_size=vocab_size,
        max_length=max_length,
        settings=settings,
        head=head,
        num_classes=num_classes,
        pad_token_id=pad_token_id,
        eos_token_id=stop_ids(eos_token_id),
        dtype=dtype,
    )
