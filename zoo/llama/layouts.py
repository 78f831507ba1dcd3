"""Names of tensors and options in the Hub's files of Llama and its relatives."""

from collections.abc import Callable, Mapping
from typing import Any

from converters.matching import Fuse
from zoo._nn.rope import TRAINED
from zoo._nn.rope_attributes import with_rope
from zoo._registry.family import ConfigFields
from zoo.llama.attributes import (
    as_gemma,
    as_gemma2,
    as_gemma3,
    as_phi3,
    as_qwen,
    as_qwen2_moe,
    as_qwen3_moe,
    with_switch,
)

_BASE = ((r"^(embed_tokens|layers|norm)\.", r"model.\1."),)
_FUSED = (
    Fuse("*.qkv_proj.*", ("*.q_proj.*", "*.k_proj.*", "*.v_proj.*")),
    Fuse("*.gate_up_proj.*", ("*.gate_proj.*", "*.up_proj.*")),
)
_EXPERTS = (
    (r"\.experts\.(\d+)\.gate_proj\.", r".experts.\1.w1."),
    (r"\.experts\.(\d+)\.down_proj\.", r".experts.\1.w2."),
    (r"\.experts\.(\d+)\.up_proj\.", r".experts.\1.w3."),
    (r"\.mlp\.(gate|experts)\.", r".block_sparse_moe.\1."),
)
TORCH_NAMES = {
    "transformers": _BASE,
    "transformers_model": (),  # LlamaModel and its like
    "mixtral": (*_BASE, *_EXPERTS),
    "mixtral_model": _EXPERTS,
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

_MIXTURE = {
    "num_experts": "experts",
    "num_local_experts": "experts",
    "num_experts_per_tok": "experts_per_token",
    "norm_topk_prob": "normalize_experts",
}
_QWEN_MIXTURE = {
    **_MIXTURE,
    "moe_intermediate_size": "expert_feed_forward",
    "mlp_only_layers": "dense_layers",
}
_ROUTING = ("output_router_logits", "router_aux_loss_coef")  # of training

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
    "mixtral": _fields(
        "Mixtral",
        {
            "sliding_window": "sliding_window",
            "head_dim": "head_dim",
            "num_local_experts": "experts",
            "num_experts_per_tok": "experts_per_token",
        },
        absent={
            "max_position_embeddings": 131072,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5,
            "rope_theta": 1000000.0,
            "num_local_experts": 8,
        },
        fixed={"router_jitter_noise": 0.0},
        irrelevant=_ROUTING,
        layouts={"MixtralModel": "mixtral_model", "": "mixtral"},
    ),
    "gemma": _fields(
        "Gemma",
        _BIASES,
        absent=_GEMMA
        | {"vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576}
        | {"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16}
        | {"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192},
        read=as_gemma,
        fixed=_CAUSAL,
        defaults=_LIKE_GEMMA,
    ),
    "gemma2": _fields(
        "Gemma2",
        {**_GEMMA_3, "attn_logit_softcapping": "attention_cap"},
        absent=_GEMMA | _LATER | {"max_position_embeddings": 8192},
        read=as_gemma2,
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
        read=as_gemma3,
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
        read=as_phi3,
        fixed={"attention_bias": False},
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
        read=as_qwen,
        write=with_switch,
        fixed={"use_mrope": False},
        defaults={"qkv_bias": True},
    ),
    "qwen3": _fields(
        "Qwen3",
        {**_WINDOWS, **_BIASES},
        absent=_QWEN | {"head_dim": 128},
        read=as_qwen,
        write=with_switch,
        defaults={"qk_norm": "heads"},
    ),
    "qwen2_moe": _fields(
        "Qwen2Moe",
        {
            **_WINDOWS,
            **_QWEN_MIXTURE,
            "qkv_bias": "qkv_bias",
            "shared_expert_intermediate_size": "shared_feed_forward",
        },
        absent=_QWEN
        | {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24}
        | {"num_attention_heads": 16, "num_key_value_heads": 16, "qkv_bias": True}
        | {"moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632}
        | {"num_experts": 60, "num_experts_per_tok": 4}
        | {"decoder_sparse_step": 1, "norm_topk_prob": False},
        read=as_qwen2_moe,
        write=with_switch,
        irrelevant=_ROUTING,
    ),
    "qwen3_moe": _fields(
        "Qwen3Moe",
        {"sliding_window": "sliding_window", **_BIASES, **_QWEN_MIXTURE},
        absent=_QWEN
        | {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24}
        | {"num_key_value_heads": 4, "moe_intermediate_size": 768}
        | {"num_experts_per_tok": 8, "decoder_sparse_step": 1, "norm_topk_prob": False},
        read=as_qwen3_moe,
        write=with_switch,
        defaults={"qk_norm": "heads", "experts": 128},
        irrelevant=_ROUTING,
    ),
}
