"""Decoder-only language models with attention beside the MLP or before it: GPT-NeoX and its relatives."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.caches import Caches
from zoo._nn.decoder import Decoder, token_logits
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.rope import Rope, parsed
from zoo._nn.tokens import stop_ids
from zoo.gpt_neox.layers import Block, Context, Settings, slopes

TENSOR_PARALLEL = {
    "embed_in/embedding": ("model", None),
    "embed_out/kernel": (None, "model"),
    "(query_key_value|[qkv]_proj|dense_h_to_4h)/kernel": (None, "model"),
    "(query_key_value|[qkv]_proj|dense_h_to_4h)/bias": ("model",),
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


class GPTNeoX(Decoder):
    """Token embeddings, blocks, a norm, and one of the heads that `create` names."""

    settings: Settings
    rotary: Rope | None
    tied: bool
    embedding_norm: bool
    embedding_dropout: float
    head_bias: bool
    num_classes: int = 2
    eos_token_id: tuple[int, ...] = ()
    classifier_dropout: float = 0.1
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        start = nn.initializers.normal(0.02)
        self.embed_in = nn.Embed(self.vocab_size, settings.width, dtype=self.dtype, embedding_init=start)
        self.embed_norm = settings.norm()
        self.emb_dropout = nn.Dropout(self.embedding_dropout)
        self.layers = settings.series.build(partial(Block, settings))
        self.final_layer_norm = settings.norm()
        self.embed_out = settings.dense(self.vocab_size, bias=self.head_bias)
        self.score = settings.dense(self.num_classes, bias=False)
        self.classifier = settings.dense(self.num_classes, bias=True)
        self.dropout = nn.Dropout(self.classifier_dropout)

    def _logits(self, states: jax.Array) -> jax.Array:
        logits: jax.Array = token_logits(self.embed_in, states) if self.tied else self.embed_out(states)
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
        waves = bias = None
        if self.rotary is not None:
            waves = self.rotary.waves(places, lengths, self.settings.width // self.settings.heads, dtype)
        else:
            bias = self._alibi(jnp.ones((1, 1, 1, ids.shape[1]), bool) if mask is None else mask, dtype)
        context = Context(waves, bias, mask, column, train)
        x = self.embed_in(ids)
        x = self.embed_norm(x) if self.embedding_norm else x
        x = self.emb_dropout(x, deterministic=not train)
        x, made = self.settings.series.scan_with(
            self.layers, lambda block, x, cache: block(x, context, cache), x, caches
        )
        return self.final_layer_norm(x), made

    def _alibi(self, mask: jax.Array, dtype: DTypeLike) -> jax.Array:
        """Returns the numbers that products of queries and keys get for the keys' positions.

        The nearer a key, the more; what all keys of a query have in common changes nothing.
        """
        wide = jnp.promote_types(dtype, jnp.float32)
        kept = mask.astype(wide)
        places = (kept.cumsum(-1) - 1) * kept
        return (places * jnp.asarray(slopes(self.settings.heads), wide)[:, None, None]).astype(dtype)


def create(
    *,
    vocab_size: int = 50432,
    max_length: int = 2048,
    width: int = 6144,
    depth: int = 44,
    heads: int = 64,
    kv_heads: int | None = None,
    feed_forward: int = 24576,
    activation: str = "gelu",
    epsilon: float = 1e-5,
    rope: Mapping[str, Any] | None = None,
    neighbors: bool = False,
    alibi: bool = False,
    embedding_norm: bool = False,
    parallel: bool = True,
    one_norm: bool = False,
    fused: bool = True,
    attention_bias: bool = True,
    mlp_bias: bool = True,
    head_bias: bool = False,
    tied: bool = False,
    dropout: float = 0.0,
    embedding_dropout: float | None = None,
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
        heads: Number of heads of queries; divides the width.
        kv_heads: Number of heads of keys and values, which divides `heads`; by default as many.
        feed_forward: Size of the hidden layer between a block's two dense layers.
        activation: Name of the activation between them.
        epsilon: Epsilon of the layer norms.
        rope: Rotary positions, as for `zoo.llama.create`; by default a quarter of a head turns.
        neighbors: If true, two neighbors of a head's numbers turn together; else one of each half.
        alibi: If true, nothing turns, and heads see less of tokens that are far away, each by its own factor.
        embedding_norm: If true, a norm follows the embeddings.
        parallel: If true, attention and MLP read the same states; else the MLP reads those after attention.
        one_norm: If true, and these are the same, there is one norm for both.
        fused: If true, one dense layer makes queries, keys and values; else each has its own.
        attention_bias: If true, the dense layers of attention have biases.
        mlp_bias: If true, those of the MLP have biases.
        head_bias: If true, the head "lm" has a bias.
        tied: If true, the head "lm" is the token embeddings.
        dropout: Rate before each residual connection.
        embedding_dropout: Rate after the embeddings; by default the same.
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
        ZooError: no such head, activation or kind of positions, or options that do not fit each other.
    """
    check_choices(head=(head, _HEADS))
    kv_heads = heads if kv_heads is None else kv_heads
    check_options(
        ("heads", heads, heads and width % heads == 0, f"a divisor of a width of {width}"),
        ("kv_heads", kv_heads, kv_heads and heads % kv_heads == 0, f"a divisor of {heads} heads"),
        (
            "one_norm",
            one_norm,
            parallel or not one_norm,
            "False where the MLP reads the states after attention",
        ),
    )
    settings = Settings(
        series=LayerStack(depth, scan=scan, remat=remat),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=feed_forward,
        activation=check_activation(activation),
        epsilon=epsilon,
        parallel=parallel,
        one_norm=one_norm,
        fused=fused,
        neighbors=neighbors,
        attention_bias=attention_bias,
        mlp_bias=mlp_bias,
        dropout=dropout,
        attention_dropout=attention_dropout,
        dtype=None,
    )
    return GPTNeoX(
        vocab_size=vocab_size,
        max_length=max_length,
        settings=settings,
        rotary=None if alibi else parsed({"partial_rotary_factor": 0.25, **(rope or {})}),
        tied=tied,
        embedding_norm=embedding_norm,
        embedding_dropout=dropout if embedding_dropout is None else embedding_dropout,
        head_bias=head_bias,
        head=head,
        num_classes=num_classes,
        pad_token_id=pad_token_id,
        eos_token_id=stop_ids(eos_token_id),
        classifier_dropout=classifier_dropout,
        dtype=dtype,
    )
