"""Names of tensors and options in the Hub's files of T5 and its relatives."""

from typing import Any

from zoo._registry.entry import Input
from zoo._registry.family import ACTIVATIONS, ConfigFields

# One table of relative positions, which the first block of the files has; UMT5's blocks have their own.
_POSITIONS = (
    r"^(encoder|decoder)\.relative_attention_bias\.",
    r"\1.block.0.layer.0.SelfAttention.relative_attention_bias.",
)
TORCH_NAMES = {
    "transformers": (_POSITIONS,),
    "embed_tokens": (_POSITIONS, (r"^shared\.", "encoder.embed_tokens.")),  # some files of an encoder alone
}
IGNORED = {
    r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight": (
        "positions of the encoder's states, which nothing reads"
    ),
}
TIED = {
    "encoder.embed_tokens.weight": "shared.weight",
    "decoder.embed_tokens.weight": "shared.weight",
    "lm_head.weight": "shared.weight",
}
UNTIED = {"lm_head.weight": {"tied": False}}

_IDS = Input("input_ids", (1, 16), "int32")
_GATED = {f"gated-{name}": f"gated_{activation}" for name, activation in ACTIVATIONS.items()}


def _fields(prefix: str, defaults: dict[str, Any]) -> ConfigFields:
    return ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "n_positions": "max_length",
            "d_model": "width",
            "hidden_size": "width",
            "num_layers": "depth",
            "num_hidden_layers": "depth",
            "num_decoder_layers": "decoder_depth",
            "num_heads": "heads",
            "num_attention_heads": "heads",
            "d_kv": "head_dim",
            "head_dim": "head_dim",
            "d_ff": "feed_forward",
            "feed_forward_proj": "activation",
            "relative_attention_num_buckets": "buckets",
            "relative_attention_max_distance": "max_distance",
            "layer_norm_epsilon": "epsilon",
            "dropout_rate": "dropout",
            "tie_word_embeddings": "tied",
            "scale_decoder_outputs": "scale_head",
            "pad_token_id": "pad_token_id",
            "decoder_start_token_id": "decoder_start_token_id",
        },
        heads={
            f"{prefix}Model": {"head": "none"},
            f"{prefix}EncoderModel": {"head": "encoder"},
            f"{prefix}ForConditionalGeneration": {"head": "lm"},
            f"{prefix}WithLMHeadModel": {"head": "lm"},  # its name before transformers 4
        },
        irrelevant=("is_encoder_decoder", "dense_act_fn", "is_gated_act", "classifier_dropout"),
        defaults=defaults,
        inputs=(_IDS,),
        # The gated GELU of the files is the approximate one.
        activations={**ACTIVATIONS, **_GATED, "gated-gelu": "gated_gelu_tanh"},
        layouts={"": "transformers"},
    )


_GATED_SIZES = {
    "vocab_size": 250112,
    "feed_forward": 1024,
    "depth": 8,
    "heads": 6,
    "activation": "gated_gelu_tanh",
}
CONFIG_FIELDS = {
    "t5": _fields("T5", {}),
    "mt5": _fields("MT5", {**_GATED_SIZES, "scale_head": False}),
    "umt5": _fields("UMT5", {**_GATED_SIZES, "own_positions": True}),
}
