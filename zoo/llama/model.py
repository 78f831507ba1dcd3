"""Decoder-only language models with rotary positions and gated MLPs: Llama and its relatives."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.caches import Caches
from zoo._nn.decoder import Decoder, token_logits
from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.rope import Rope, parsed
from zoo._nn.text_pooling import Vectors
from zoo._nn.tokens import stop_ids
from zoo.llama.layers import NORMALIZATIONS, NORMS, QK_NORMS, Block, Context, Experts, Settings

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "embed_tokens/embedding": ("model", None),
    "lm_head/kernel": (None, "model"),
    "([qkv]_proj|gate_proj|up_proj)/kernel": (None, "model"),
    "([qkv]_proj|gate_proj|up_proj)/bias": ("model",),
    "(o_proj|down_proj)/kernel": ("model", None),
}
HEAD = ("score",)
CLASSIFIER = {"head": "classification"}
CLASSIFYING = ("classification", "token_classification")
TASKS = {
    "lm": "text-generation",
    "classification": "text-classification",
    "token_classification": "token-classification",
    "embedding": "sentence-similarity",
}
HEADS = (*TASKS, "none")
LAYER_TYPES = ("full_attention", "sliding_attention")


class Llama(Decoder):
    """Token embeddings, blocks, a norm, and one of HEADS.

    The attributes that are not in the list of `create` are `ropes`, the rotary positions of each of
    LAYER_TYPES, `layer_types` and `sliding_window` as they are then, and `sparse`, whether a block has
    experts.
    """

    settings: Settings
    ropes: tuple[Rope, ...]
    layer_types: tuple[str, ...]
    sparse: tuple[bool, ...]
    sliding_window: int | None
    tied: bool
    scale_embeddings: bool
    logits_cap: float | None
    num_classes: int = 2
    vectors: Vectors = Vectors()
    eos_token_id: tuple[int, ...] = ()
    classifier_dropout: float = 0.1
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        settings = self.settings._replace(dtype=self.dtype)
        start = nn.initializers.normal(0.02)
        self.embed_tokens = nn.Embed(self.vocab_size, settings.width, dtype=self.dtype, embedding_init=start)
        sparse = iter(self.sparse)
        self.layers = settings.series.build(lambda: Block(settings, next(sparse)))
        self.norm = settings.norm()
        self.lm_head = settings.dense(self.vocab_size, bias=False)
        self.score = settings.dense(self.num_classes, bias=self.head == "token_classification")
        self.dropout = nn.Dropout(self.classifier_dropout)
        self.projections = self.vectors.build(self.dtype)

    def check_continuation(self, lengths: np.ndarray, count: int) -> None:
        """Checks that texts can grow with the keys that they have.

        Args:
            lengths: (batch,) lengths of the prompts.
            count: Number of tokens that follow.

        Raises:
            ZooError: a text would come to a length at which positions of all its tokens are others.
        """
        for rope in self.ropes:
            if rope.kind != "longrope":
                continue
            most = int(np.max(lengths, initial=0, where=lengths <= rope.trained))
            if most and most + count > rope.trained:
                raise ZooError(
                    f"{count} tokens after a prompt of {most}; beyond {rope.trained} tokens this model has "
                    f"other positions for the whole text: ask for at most {rope.trained - most}, and "
                    "continue the result, or give a longer prompt."
                )

    def _logits(self, states: jax.Array) -> jax.Array:
        """(..., width) -> (..., vocab_size)."""
        logits: jax.Array = token_logits(self.embed_tokens, states) if self.tied else self.lm_head(states)
        return logits if self.logits_cap is None else self.logits_cap * jnp.tanh(logits / self.logits_cap)

    def _contexts(
        self,
        positions: jax.Array,
        lengths: jax.Array,
        mask: jax.Array | None,
        first: jax.Array | int,
        count: int,
    ) -> dict[str, Context]:
        """Returns the arguments of the blocks of each type, of `count` tokens; the others as in `_states`."""
        settings, masks = self.settings, {"full_attention": mask}
        dtype = self.embed_tokens.embedding.dtype if self.dtype is None else self.dtype
        if self.sliding_window is not None:
            keys = jnp.arange(count if mask is None else mask.shape[-1])
            near = keys > (first + jnp.arange(count))[:, None] - self.sliding_window
            masks["sliding_attention"] = near[None, None] if mask is None else mask & near
        return {
            kind: Context(
                rope.waves(positions, lengths, settings.head_dim, dtype),
                masks[kind],
                first,
            )
            for kind, rope in zip(LAYER_TYPES, self.ropes, strict=True)
            if kind in self.layer_types
        }

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
        contexts = self._contexts(places, lengths, mask, column, ids.shape[1])
        x = self.embed_tokens(ids)
        if self.scale_embeddings:
            x = x * jnp.asarray(math.sqrt(self.settings.width), x.dtype)
        series, kinds = self.settings.series, sorted(contexts)
        own = [contexts[kind] for kind in kinds]
        numbers = [kinds.index(kind) for kind in self.layer_types]
        stacked = _stacked(own) if series.scan else None

        def call(block: Any, x: jax.Array, each: tuple[Any, Any]) -> Any:
            number, cache = each
            context = own[number] if stacked is None else jax.tree.map(lambda part: part[number], stacked)
            return block(x, context, cache, train=train)

        each: Any = (jnp.array(numbers), caches)
        if not series.scan:
            each = [(number, caches and caches[layer]) for layer, number in enumerate(numbers)]
        x, made = series.scan_with(self.layers, call, x, each)
        return self.norm(x), made


def _stacked(contexts: Sequence[Context]) -> Context:
    """Returns the contexts as one with a first axis."""
    everywhere = jnp.ones((1, 1, 1, 1), bool)
    whole = [each._replace(mask=everywhere if each.mask is None else each.mask) for each in contexts]
    stacked: Context = jax.tree.map(lambda *each: jnp.stack(jnp.broadcast_arrays(*each)), *whole)
    return stacked


def create(
    *,
    vocab_size: int = 32000,
    max_length: int = 2048,
    width: int = 4096,
    depth: int = 32,
    heads: int = 32,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    feed_forward: int = 11008,
    experts: int = 0,
    experts_per_token: int = 2,
    expert_feed_forward: int | None = None,
    shared_feed_forward: int = 0,
    normalize_experts: bool = True,
    dense_layers: Sequence[int] = (),
    activation: str = "silu",
    normalization: str = "rms",
    norms: str = "before",
    qk_norm: str = "none",
    epsilon: float = 1e-6,
    attention_bias: bool = False,
    qkv_bias: bool = False,
    mlp_bias: bool = False,
    rope: Mapping[str, Any] | None = None,
    sliding_window: int | None = None,
    layer_types: Sequence[str] | None = None,
    query_scalar: float | None = None,
    attention_cap: float | None = None,
    logits_cap: float | None = None,
    scale_embeddings: bool = False,
    tied: bool = False,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    classifier_dropout: float = 0.1,
    pad_token_id: int | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    head: str = "lm",
    num_classes: int = 2,
    pooling: str | Sequence[str] = "lasttoken",
    projections: Sequence[Mapping[str, Any]] = (),
    normalize: bool = False,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Llama:
    """Builds a Llama; the defaults are those of Llama with 7 billion parameters.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        max_length: Longest sequence, in tokens.
        width: Size of the embeddings and hidden states.
        depth: Number of blocks.
        heads: Number of heads of queries.
        kv_heads: Number of heads of keys and values, which divides `heads`; by default as many.
        head_dim: Size of a head; by default width / heads.
        feed_forward: Size of the hidden layer between an MLP's dense layers.
        experts: Number of MLPs in a block, of which a router gives each token a few; 0 for an MLP alone.
        experts_per_token: Number of those that a token gets.
        expert_feed_forward: Size of the hidden layer in an expert; by default `feed_forward`.
        shared_feed_forward: The same of one more expert, which all tokens get, with a gate; 0 for none.
        normalize_experts: If true, the weights of a token's experts are scaled to a sum of one.
        dense_layers: Numbers of the blocks, from 0, that have an MLP where others have experts.
        activation: Name of the activation of the MLP's gate.
        normalization: Norms, one of NORMALIZATIONS: "rms_plus_one" is Gemma's, whose scales are one more than
            the parameters.
        norms: Places of the norms, one of NORMS: before attention and MLP, behind them, or both.
        qk_norm: Norms of queries and keys, one of QK_NORMS: of each head, or of all heads' numbers at once.
        epsilon: Epsilon of the norms.
        attention_bias: If true, all dense layers of attention have biases.
        qkv_bias: If true, those of queries, keys and values have biases.
        mlp_bias: If true, the MLP's dense layers have biases.
        rope: Rotary positions by transformers' names: `rope_theta`, by default 10000; `rope_type`, "default",
            "linear", "dynamic", "llama3", "yarn" or "longrope", with its options; `partial_rotary_factor`,
            the part of a head that turns. Or such a mapping for each of LAYER_TYPES.
        sliding_window: Number of tokens, itself included, that a token attends to in some blocks.
        layer_types: For each block, one of LAYER_TYPES; by default all slide where there is a window.
        query_scalar: Products of queries and keys are divided by its root; by default `head_dim`.
        attention_cap: Largest magnitude of these, to which a tanh bends them, if there is any.
        logits_cap: The same for the logits of tokens.
        scale_embeddings: If true, token embeddings are multiplied by the root of the width.
        tied: If true, the head "lm" is the token embeddings.
        dropout: Rate before each residual connection.
        attention_dropout: Rate of the attention weights.
        classifier_dropout: Rate before the classifier of tokens.
        pad_token_id: Id of the padding token, if there is any; the head "classification" reads the last
            token that is another one, and that the mask keeps.
        eos_token_id: Ids of the tokens that end a text, which `generate` then stops at.
        head: "lm" for logits of the next token, "none" for hidden states, "embedding" for a vector of each
            text, "classification" and "token_classification" for logits of classes.
        num_classes: Number of logits of the heads "classification" and "token_classification".
        pooling: Reduction of states to the vector of the head "embedding", one of zoo.bert.POOLING, or
            several that are concatenated.
        projections: Dense layers after the pooling, each with `features`, `activation` and `use_bias`.
        normalize: If true, scales these vectors to length 1.
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner, and
            generate more slowly.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: an option that there is not, or sizes that do not fit each other.
    """
    check_choices(
        head=(head, HEADS),
        normalization=(normalization, NORMALIZATIONS),
        norms=(norms, NORMS),
        qk_norm=(qk_norm, QK_NORMS),
    )
    kv_heads = heads if kv_heads is None else kv_heads
    head_dim = width // heads if head_dim is None else head_dim
    slide = "full_attention" if sliding_window is None else "sliding_attention"
    types = (slide,) * depth if layer_types is None else tuple(layer_types)
    check_options(
        ("kv_heads", kv_heads, kv_heads and heads % kv_heads == 0, f"a divisor of {heads} heads"),
        ("head_dim", head_dim, head_dim and head_dim % 2 == 0, "an even number, of which pairs turn"),
        ("layer_types", types, len(types) == depth, f"one for each of {depth} blocks"),
        ("layer_types", types, {*types} <= {*LAYER_TYPES}, f"only {' and '.join(LAYER_TYPES)}"),
        (
            "sliding_window",
            sliding_window,
            sliding_window is None if "sliding_attention" not in types else bool(sliding_window),
            "a number of tokens where a block slides, and else None",
        ),
    )
    sparse = tuple(bool(experts) and layer not in dense_layers for layer in range(depth))
    check_options(
        (
            "experts_per_token",
            experts_per_token,
            not experts or 0 < experts_per_token <= experts,
            f"1 to {experts} experts",
        ),
        ("dense_layers", dense_layers, {*dense_layers} <= {*range(depth)}, f"numbers from 0 to {depth - 1}"),
        ("scan", scan, not scan or len({*sparse}) < 2, "False where some blocks have experts, others an MLP"),
    )
    nested = rope is not None and not {*LAYER_TYPES}.isdisjoint(rope)
    ropes = tuple(parsed(rope.get(kind) if nested and rope else rope) for kind in LAYER_TYPES)
    settings = Settings(
        series=LayerStack(depth, scan=scan, remat=remat),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        feed_forward=feed_forward,
        experts=Experts(
            total=experts,
            chosen=experts_per_token,
            feed_forward=feed_forward if expert_feed_forward is None else expert_feed_forward,
            shared=shared_feed_forward,
            normalize=normalize_experts,
        ),
        activation=check_activation(activation),
        normalization=normalization,
        norms=norms,
        qk_norm=qk_norm,
        epsilon=epsilon,
        attention_bias=attention_bias,
        qkv_bias=qkv_bias,
        mlp_bias=mlp_bias,
        query_scalar=head_dim if query_scalar is None else query_scalar,
        attention_cap=attention_cap,
        attention_dropout=attention_dropout,
        dropout=dropout,
        dtype=None,
    )
    return Llama(
        vocab_size=vocab_size,
        max_length=max_length,
        settings=settings,
        ropes=ropes,
        layer_types=types,
        sparse=sparse,
        sliding_window=sliding_window,
        tied=tied,
        scale_embeddings=scale_embeddings,
        logits_cap=logits_cap,
        head=head,
        num_classes=num_classes,
        vectors=Vectors.of(pooling, projections, normalize=normalize),
        pad_token_id=pad_token_id,
        eos_token_id=stop_ids(eos_token_id),
        classifier_dropout=classifier_dropout,
        dtype=dtype,
    )
