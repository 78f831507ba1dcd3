"""Names of tensors and options in the Hub's files of ModernBERT."""

from collections.abc import Mapping
from typing import Any

from zoo._registry.family import ConfigFields

_HEADS = ((r"^words\.bias$", "decoder.bias"), (r"^(words|neck)\.head\.", "head."))
TORCH_NAMES = {
    "transformers": (*_HEADS, (r"^base\.", "model.")),
    "transformers_model": ((r"^base\.", ""),),
}
IGNORED = {
    r"(head|decoder)\..*": "the language model's head",
    r"classifier\..*": "the head of a classifier",
}
TIED = {"decoder.weight": "embeddings.tok_embeddings.weight"}

# Kind of attention in `layer_types` -> the keyword for the base of its rotary frequencies.
_ROPES = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with a kind of attention for each layer, and two bases of frequencies.

    Files have the first as `layer_types`, or as every how many layers attention is global; and the others
    under names of their own, or in `rope_parameters`, which stays where it says anything else.
    """
    found = {name: value for name, value in config.items() if name != "global_attn_every_n_layers"}
    every, depth = config.get("global_attn_every_n_layers"), config.get("num_hidden_layers")
    if found.get("layer_types") is None and isinstance(every, int) and every > 0:
        count = 22 if depth is None else depth
        found["layer_types"] = layer_types(count if isinstance(count, int) else 0, every)
    ropes = found.get("rope_parameters")
    if isinstance(ropes, dict) and all(_is_plain(kind, rope) for kind, rope in ropes.items()):
        del found["rope_parameters"]
        bases = {_ROPES[kind]: (rope or {}).get("rope_theta") for kind, rope in ropes.items()}
        found |= {name: base for name, base in bases.items() if base is not None}
    return found


def write(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with no padding token, since transformers' own is none of a small vocabulary."""
    return {**config, "pad_token_id": None}


def layer_types(depth: int, every: int) -> tuple[str, ...]:
    """Returns the kind of attention in each layer, of which the first and every so many are global."""
    return tuple("sliding_attention" if index % every else "full_attention" for index in range(depth))


def _is_plain(kind: str, rope: Any) -> bool:
    """Returns whether rotary positions are of a kind of attention, and stretched in no way."""
    if kind not in _ROPES or not isinstance(rope, dict | None):
        return False
    said = {name: value for name, value in (rope or {}).items() if name != "rope_theta"}
    return all(name in ("rope_type", "type") and value == "default" for name, value in said.items())


CONFIG_FIELDS = {
    "modernbert": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "hidden_size": "width",
            "num_hidden_layers": "depth",
            "num_attention_heads": "heads",
            "intermediate_size": "feed_forward",
            "hidden_activation": "activation",
            "layer_types": "layer_types",
            "local_attention": "window",
            "global_rope_theta": "global_rope_theta",
            "local_rope_theta": "local_rope_theta",
            "norm_eps": "epsilon",
            "norm_bias": "norm_bias",
            "attention_bias": "attention_bias",
            "mlp_bias": "mlp_bias",
            "decoder_bias": "word_bias",
            "classifier_bias": "head_bias",
            "classifier_activation": "head_activation",
            "classifier_pooling": "classifier_pooling",
            "embedding_dropout": "embedding_dropout",
            "attention_dropout": "attention_dropout",
            "mlp_dropout": "mlp_dropout",
            "classifier_dropout": "classifier_dropout",
        },
        heads={
            "ModernBertModel": {"head": "none"},
            "ModernBertForMaskedLM": {"head": "masked_lm"},
            "ModernBertForSequenceClassification": {"head": "classification"},
            "ModernBertForTokenClassification": {"head": "token_classification"},
            "ModernBertForQuestionAnswering": {"head": "question_answering"},
            "ModernBertForMultipleChoice": {"head": "multiple_choice"},
        },
        fixed_for={"masked_lm": {"tie_word_embeddings": True}},
        irrelevant=(
            # how it is computed and initialized; the last one is in published files, and nothing reads it
            "deterministic_flash_attn",
            "reference_compile",
            "repad_logits_with_grad",
            "sparse_prediction",
            "sparse_pred_ignore_index",
            "initializer_cutoff_factor",
            "layer_norm_eps",
        ),
        layouts={"ModernBertModel": "transformers_model", "": "transformers"},
        classifies=True,
        embeds=True,
        read=read,
        write=write,
    ),
}
