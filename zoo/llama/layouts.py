"""Names of tensors and options in the Hub's files of Llama and its relatives."""

from collections.abc import Callable, Mapping
from typing import Any

from zoo._registry.family import ConfigFields

TORCH_NAMES = {
    "transformers": ((r"^(embed_tokens|layers|norm)\.", r"model.\1."),),
    "transformers_model": (),  # LlamaModel and its like
}
IGNORED = {
    r"(.*\.)?rotary_emb\.inv_freq": "frequencies, which are computed",
    r"lm_head\..*": "the language model's head",
    r"score\..*": "the head of a classifier",
}
TIED = {"lm_head.weight": "embed_tokens.weight"}

_SIZES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_length",
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "intermediate_size": "feed_forward",
    "hidden_act": "activation",
    "rms_norm_eps": "epsilon",
    "rope_parameters": "rope",
    "attention_dropout": "attention_dropout",
    "classifier_dropout": "classifier_dropout",
    "tie_word_embeddings": "tied",
    "pad_token_id": "pad_token_id",
}
_WINDOWS = {"sliding_window": "sliding_window", "layer_types": "layer_types"}


def with_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with rotary positions as `rope_parameters` says them in transformers 5.

    Older files have `rope_theta` and `rope_scaling`, and lengths of the training that are those of the model.
    """
    moved = ("rope_theta", "rope_scaling", "partial_rotary_factor", "original_max_position_embeddings")
    found = {name: value for name, value in config.items() if name not in moved}
    rope = {**(config.get("rope_scaling") or config.get("rope_parameters") or {})}
    for name in ("rope_theta", "partial_rotary_factor"):
        if config.get(name) is not None and rope.get(name) is None:
            rope[name] = config[name]
    kind = rope.get("rope_type", rope.get("type", "default"))
    longest = config.get("max_position_embeddings")
    if kind in ("llama3", "yarn", "longrope"):
        trained = config.get("original_max_position_embeddings", longest)
        rope = {"original_max_position_embeddings": trained, **rope}
    elif kind == "dynamic":  # transformers looks at no other length here
        rope |= {"original_max_position_embeddings": longest}
    if kind in ("yarn", "longrope") and rope.get("factor") is None:
        trained = rope["original_max_position_embeddings"]
        rope |= {"factor": longest / trained} if longest and trained else {}
    return found | ({"rope_parameters": rope} if rope else {})


def _as_qwen(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with a window, and the type of each layer, where Qwen's files let some slide."""
    found = dict(config)
    slides, beginning = found.pop("use_sliding_window"), found.pop("max_window_layers")
    depth = found.get("num_hidden_layers", 0)
    later = [("full_attention", "sliding_attention")[layer >= beginning] for layer in range(depth)]
    types = found.get("layer_types") or later
    if not slides or "sliding_attention" not in types:
        return found | {"sliding_window": None, "layer_types": None}
    return found | {"layer_types": types}


def _with_switch(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with the one that lets Qwen's layers slide."""
    return {**config, "use_sliding_window": config.get("sliding_window") is not None}


def _heads(prefix: str) -> dict[str, dict[str, str]]:
    return {
        f"{prefix}Model": {"head": "none"},
        f"{prefix}ForCausalLM": {"head": "lm"},
        f"{prefix}ForSequenceClassification": {"head": "classification"},
        f"{prefix}ForTokenClassification": {"head": "token_classification"},
    }


def _fields(
    prefix: str,
    keywords: Mapping[str, str],
    *,
    absent: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    **others: Any,
) -> ConfigFields:
    """Returns the reading rules of a model_type.

    Args:
        prefix: Beginning of its classes' names.
        keywords: Attributes besides those of all.
        absent: Attribute -> its value where a file lacks it; null may mean another one.
        read: The attributes, those included -> the same as transformers 5 has them.
        others: Further fields.
    """
    return ConfigFields(
        keywords={**_SIZES, **keywords},
        heads=_heads(prefix),
        layouts={f"{prefix}Model": "transformers_model", "": "transformers"},
        classifies=True,
        read=lambda config: with_rope(read({**_ABSENT, **absent, **config})),
        **others,
    )


_ABSENT = {"num_hidden_layers": 32, "max_position_embeddings": 2048}
_BIASES = {"attention_bias": "attention_bias", "head_dim": "head_dim"}
_QWEN = {"max_position_embeddings": 32768, "vocab_size": 151936, "intermediate_size": 22016} | {
    "num_key_value_heads": 32,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}

CONFIG_FIELDS = {
    "llama": _fields(
        "Llama",
        {**_BIASES, "mlp_bias": "mlp_bias"},
        absent={},
        fixed={"rope_interleaved": False},
        # The first one cuts matrices in training, with the same products.
        irrelevant=("pretraining_tp", "is_llama_config"),
    ),
    "mistral": _fields(
        "Mistral",
        {"sliding_window": "sliding_window", "head_dim": "head_dim"},
        absent={
            "max_position_embeddings": 131072,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "sliding_window": 4096,
        },
    ),
    "qwen2": _fields(
        "Qwen2",
        _WINDOWS,
        absent=_QWEN,
        read=_as_qwen,
        write=_with_switch,
        fixed={"use_mrope": False},
        defaults={"qkv_bias": True},
    ),
    "qwen3": _fields(
        "Qwen3",
        {**_WINDOWS, **_BIASES},
        absent=_QWEN | {"head_dim": 128},
        read=_as_qwen,
        write=_with_switch,
        defaults={"qk_norm": "heads"},
    ),
}
