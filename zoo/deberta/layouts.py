"""Names of tensors and options in the Hub's files of DeBERTa."""

from collections.abc import Mapping
from typing import Any

from zoo._registry.family import ConfigFields

_BASE = (r"^base\.", "deberta.")
_POOLER = (r"^neck\.dense\.", "pooler.dense.")
_CLS = ((r"^words\.bias$", "cls.predictions.bias"), (r"^words\.", "cls.predictions.transform."))
TORCH_NAMES = {
    "transformers": (*_CLS, _POOLER, _BASE),
    # Where version 3 was pretrained, and transformers with `legacy: false`, the head has another name.
    "lm_predictions": ((r"^words\.", "lm_predictions.lm_head."), _BASE),
    "transformers_answers": ((r"^classifier\.", "qa_outputs."), _BASE),
    "transformers_model": ((r"^base\.", ""),),
}
IGNORED = {
    r"(.*\.)?position_ids": "positions, which are computed",
    r"(.*\.)?position_embeddings\..*": "embeddings of positions, which the model does not add",
    r"(cls\.predictions|(lm|mask)_predictions)\..*": "the language model's head",
    r"pooler\..*": "the pooler",
    r"classifier\..*": "the head of a classifier",
    r"qa_outputs\..*": "the head that finds answers",
}
TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}

_HEAD_SIZE = "attention_head_size"


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes without the numbers that stand for a default, and with truths for words."""
    found = {
        name: value
        for name, value in config.items()
        if not (
            name in ("max_relative_positions", "position_buckets", "conv_kernel_size") and _is_none(value)
        )
    }
    kinds, norm = found.get("pos_att_type"), found.get("norm_rel_ebd")
    if isinstance(kinds, str):
        found["pos_att_type"] = [each.strip() for each in kinds.lower().split("|") if each.strip()]
    if norm in ("none", "layer_norm"):
        found["norm_rel_ebd"] = norm == "layer_norm"
    width, heads, size = (found.get(name) for name in ("hidden_size", "num_attention_heads", _HEAD_SIZE))
    if isinstance(size, int) and isinstance(heads, int) and size * heads == width:
        del found[_HEAD_SIZE]  # another one would be refused: the zoo's heads share the width
    return found


def write(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with transformers' words."""
    found = dict(config)
    if "norm_rel_ebd" in found:
        found["norm_rel_ebd"] = "layer_norm" if found["norm_rel_ebd"] else "none"
    return found


def _is_none(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value < 1


_KEYWORDS = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_length",
    "type_vocab_size": "token_types",
    "embedding_size": "embedding_width",
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
    "hidden_act": "activation",
    "layer_norm_eps": "epsilon",
    "relative_attention": "relative",
    "max_relative_positions": "max_relative",
    "pos_att_type": "position_attention",
    "position_biased_input": "adds_positions",
    "norm_rel_ebd": "norm_relative",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "cls_dropout": "classifier_dropout",
    "pooler_dropout": "pooler_dropout",
    "pooler_hidden_act": "pooler_activation",
}


def _heads(prefix: str) -> dict[str, dict[str, str]]:
    return {
        f"{prefix}Model": {"head": "none"},
        f"{prefix}ForMaskedLM": {"head": "masked_lm"},
        f"{prefix}ForSequenceClassification": {"head": "classification"},
        f"{prefix}ForTokenClassification": {"head": "token_classification"},
        f"{prefix}ForQuestionAnswering": {"head": "question_answering"},
    }


def _fields(
    prefix: str,
    keywords: Mapping[str, str],
    heads: Mapping[str, Mapping[str, str]],
    defaults: Mapping[str, Any],
    fixed: Mapping[str, Any],
) -> ConfigFields:
    return ConfigFields(
        keywords={**_KEYWORDS, **keywords},
        heads={**_heads(prefix), **heads},
        fixed=fixed,
        fixed_for={"masked_lm": {"tie_word_embeddings": True}},
        # The first says which of two names the language model's head has, and the names do so themselves.
        irrelevant=("legacy", "pooler_hidden_size"),
        layouts={
            f"{prefix}Model": "transformers_model",
            f"{prefix}ForQuestionAnswering": "transformers_answers",
            "": "transformers",
        },
        defaults={"relative": False, "position_attention": (), "adds_positions": True, **defaults},
        classifies=True,
        embeds=True,
        read=read,
        write=write,
    )


CONFIG_FIELDS = {
    "deberta": _fields(
        "Deberta",
        {},
        {},
        {"fused": True, "vocab_size": 50265, "buckets": None, "norm_relative": False},
        {"talking_head": False},
    ),
    "deberta-v2": _fields(
        "DebertaV2",
        {
            "position_buckets": "buckets",
            "share_att_key": "shares_projections",
            "conv_kernel_size": "conv_size",
            "conv_groups": "conv_groups",
            "conv_act": "conv_activation",
        },
        {"DebertaV2ForMultipleChoice": {"head": "multiple_choice"}},
        {
            "width": 1536,
            "depth": 24,
            "heads": 24,
            "feed_forward": 6144,
            "buckets": None,
            "norm_relative": False,
            "shares_projections": False,
        },
        {},
    ),
}
