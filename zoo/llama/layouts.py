"""Names of tensors and options in the Hub's files of Llama and its relatives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converters.matching import Fuse
from zoo._nn.rope import TRAINED
from zoo._nn.rope_attributes import completed, with_rope
from zoo._registry.family import ConfigFields

_BASE = ((r"^(embed_tokens|layers|norm)\.", r"model.\1."),)
_FUSED = (
    Fuse("*.qkv_proj.*", ("*.q_proj.*", "*.k_proj.*", "*.v_proj.*")),
    Fuse("*.gate_up_proj.*", ("*.gate_proj.*", "*.up_proj.*")),
)
TORCH_NAMES = {
    "transformers": _BASE,
    "transformers_model": (),  # LlamaModel and its like
    "phi3": (*_BASE, *_FUSED),
    "phi3_model": _FUSED,
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
    "rope_parameters": "rope",
    "attention_dropout": "attention_dropout",
    "classifier_dropout": "classifier_dropout",
    "tie_word_embeddings": "tied",
    "pad_token_id": "pad_token_id",
}
_WINDOWS = {"sliding_window": "sliding_window", "layer_types": "layer_types"}


def _types(wide: Sequence[bool]) -> list[str]:
    """Returns the types of layers of which these have no window."""
    return ["full_attention" if each else "sliding_attention" for each in wide]


def _as_qwen(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with a window, and the type of each layer, where Qwen's files let some slide."""
    found = with_rope(config)
    slides, beginning = found.pop("use_sliding_window"), found.pop("max_window_layers")
    depth = found.get("num_hidden_layers", 0)
    types = found.get("layer_types") or _types([layer < beginning for layer in range(depth)])
    if not slides or "sliding_attention" not in types:
        return found | {"sliding_window": None, "layer_types": None}
    return found | {"layer_types": types}


def _with_switch(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with the one that lets Qwen's layers slide."""
    return {**config, "use_sliding_window": config.get("sliding_window") is not None}


def _as_gemma(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Gemma with its activation, which files of its first days call GELU."""
    found = {name: value for name, value in config.items() if name != "hidden_activation"}
    found |= {"hidden_act": "gelu_pytorch_tanh"} if found["hidden_act"] == "gelu" else {}
    return with_rope(found)


def _as_gemma2(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Gemma 2, of which every second layer has a window."""
    return with_rope(_typed(config, 2))


def _typed(config: Mapping[str, Any], every: int) -> dict[str, Any]:
    """Returns the attributes with the type of each layer, where one of so many has no window."""
    found = {
        name: value for name, value in config.items() if name not in ("hidden_act", "cache_implementation")
    }
    types = [
        "sliding_attention" if (layer + 1) % every else "full_attention"
        for layer in range(found["num_hidden_layers"])
    ]
    types = found.get("layer_types") or types
    window = found["sliding_window"] if "sliding_attention" in types else None
    return found | {"layer_types": types, "sliding_window": window}


def _as_gemma3(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Gemma 3, with rotary positions for each type of layer."""
    every = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
    found = _typed(config, every)
    said, scaling = found.get("rope_parameters") or {}, found.pop("rope_scaling", None) or {}
    bases = {
        "full_attention": found.pop("rope_theta", 1000000.0),
        "sliding_attention": found.pop("rope_local_base_freq", 10000.0),
    }
    ropes = {kind: {"rope_theta": base} | (said.get(kind) or {}) for kind, base in bases.items()}
    ropes["full_attention"] |= scaling
    length = found["max_position_embeddings"]
    others = {name: value for name, value in found.items() if "sliding_window_pattern" not in name}
    return others | {"rope_parameters": {kind: completed(rope, length) for kind, rope in ropes.items()}}


def _as_phi3(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Phi-3, whose long texts have had several names."""
    rope = {**(config.get("rope_scaling") or config.get("rope_parameters") or {})}
    kind = rope.pop("type", "default")
    kind = rope.get("rope_type", kind)
    rope["rope_type"] = "longrope" if kind in ("su", "yarn") else kind
    found = {name: value for name, value in config.items() if name not in ("rope_scaling", "rope_parameters")}
    return with_rope(found | {"rope_parameters": rope})


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
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = with_rope,
    write: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    **others: Any,
) -> ConfigFields:
    """Returns the reading rules of a model_type.

    Args:
        prefix: Beginning of its classes' names.
        keywords: Attributes besides those of all.
        absent: Attribute -> its value where a file lacks it; null may mean another one.
        read: The attributes, those included -> the same as transformers 5 has them.
        write: Attributes of keywords -> all that transformers has to read.
        others: Further fields.
    """
    nulls = [name for name in (*_ABSENT, *absent) if name in _NULLS]
    named = {"layer_norm_eps" if "layer_norm_eps" in keywords else "rms_norm_eps": "epsilon"}
    return ConfigFields(
        keywords={**_SIZES, **named, **keywords},
        classifies=True,
        embeds=True,
        read=lambda config: read({**_ABSENT, **absent, **config}),
        write=lambda config: write({**dict.fromkeys(nulls), **config}),
        **{
            "heads": _heads(prefix),
            "layouts": {f"{prefix}Model": "transformers_model", "": "transformers"},
            **others,
        },
    )


# Attributes whose null says something where transformers has another default.
_NULLS = (
    "attn_logit_softcapping",
    "eos_token_id",
    "final_logit_softcapping",
    "pad_token_id",
    "sliding_window",
)
_ABSENT = {"num_hidden_layers": 32, "max_position_embeddings": 2048, "eos_token_id": 2}
_CAUSAL = {"use_bidirectional_attention": False}
_GEMMA = {"head_dim": 256, "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1}
_LIKE_GEMMA = {"normalization": "rms_plus_one", "scale_embeddings": True}
_LATER = {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "num_hidden_layers": 26,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "final_logit_softcapping": 30.0,
    "attn_logit_softcapping": 50.0,
}
_BIASES = {"attention_bias": "attention_bias", "head_dim": "head_dim"}
_GEMMA_3 = {
    **_BIASES,
    **_WINDOWS,
    "hidden_activation": "activation",
    "query_pre_attn_scalar": "query_scalar",
    "final_logit_softcapping": "logits_cap",
}
_QWEN = {
    "max_position_embeddings": 32768,
    "eos_token_id": None,
    "vocab_size": 151936,
    "intermediate_size": 22016,
} | {
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
    "gemma": _fields(
        "Gemma",
        _BIASES,
        absent=_GEMMA
        | {"vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576}
        | {"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16}
        | {"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192},
        read=_as_gemma,
        fixed=_CAUSAL,
        defaults=_LIKE_GEMMA,
    ),
    "gemma2": _fields(
        "Gemma2",
        {**_GEMMA_3, "attn_logit_softcapping": "attention_cap"},
        absent=_GEMMA | _LATER | {"max_position_embeddings": 8192},
        read=_as_gemma2,
        fixed=_CAUSAL,
        defaults={**_LIKE_GEMMA, "norms": "both"},
    ),
    "gemma3_text": _fields(
        "Gemma3Text",
        _GEMMA_3,
        absent=_GEMMA
        | _LATER
        | {"vocab_size": 262208, "max_position_embeddings": 131072}
        | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
        read=_as_gemma3,
        # transformers reads the cap and does not apply it.
        fixed={**_CAUSAL, "attn_logit_softcapping": None},
        defaults={**_LIKE_GEMMA, "norms": "both", "qk_norm": "heads"},
        heads={
            "Gemma3TextModel": {"head": "none"},
            "Gemma3ForCausalLM": {"head": "lm"},
            "Gemma3TextForSequenceClassification": {"head": "classification"},
        },
    ),
    "olmo2": _fields(
        "Olmo2",
        {"attention_bias": "attention_bias"},
        absent={"vocab_size": 50304, "rms_norm_eps": 1e-5, "pad_token_id": 1, "eos_token_id": 50279},
        defaults={"norms": "after", "qk_norm": "all"},
    ),
    "phi3": _fields(
        "Phi3",
        {"sliding_window": "sliding_window", "resid_pdrop": "dropout"},
        absent={"vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "rms_norm_eps": 1e-5}
        | {"max_position_embeddings": 4096, TRAINED: 4096, "pad_token_id": 32000, "eos_token_id": 32000},
        read=_as_phi3,
        irrelevant=("embd_pdrop",),  # transformers drops no embeddings
        layouts={"Phi3Model": "phi3_model", "": "phi3"},
    ),
    "stablelm": _fields(
        "StableLm",
        {"layer_norm_eps": "epsilon", "use_qkv_bias": "qkv_bias"},
        absent={"vocab_size": 50304, "hidden_size": 2560, "intermediate_size": 6912, "layer_norm_eps": 1e-5}
        | {"max_position_embeddings": 4096, "partial_rotary_factor": 0.25, "eos_token_id": 0},
        fixed={"qk_layernorm": False, "use_parallel_residual": False, "hidden_dropout": 0.0},
        defaults={"normalization": "layer"},
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
