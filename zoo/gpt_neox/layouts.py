"""Names of tensors and options in the Hub's files of GPT-NeoX, GPT-J, BLOOM and Falcon."""

import math
from collections.abc import Mapping
from typing import Any

from zoo._nn.rope_attributes import with_rope
from zoo._registry.family import ConfigFields

_BASE = ((r"^(embed_in|layers|final_layer_norm)\.", r"gpt_neox.\1."),)
_BELOW = ((r"^(wte|word_embeddings|word_embeddings_layernorm|h|ln_f)\.", r"transformer.\1."),)
_GPTJ = (
    (r"^embed_in\.", "wte."),
    (r"^embed_out\.", "lm_head."),
    (r"^layers\.", "h."),
    (r"^final_layer_norm\.", "ln_f."),
    (r"\.input_layernorm\.", ".ln_1."),
    (r"\.attention\.dense\.", ".attn.out_proj."),
    (r"\.attention\.", ".attn."),
    (r"\.dense_h_to_4h\.", ".fc_in."),
    (r"\.dense_4h_to_h\.", ".fc_out."),
)
_FALCON = (
    (r"^embed_in\.", "word_embeddings."),
    (r"^embed_out\.", "lm_head."),
    (r"^layers\.", "h."),
    (r"^final_layer_norm\.", "ln_f."),
    (r"\.attention\.", ".self_attention."),
)
_BLOOM = (*_FALCON, (r"^embed_norm\.", "word_embeddings_layernorm."))
TORCH_NAMES = {
    "transformers": _BASE,
    "transformers_model": (),  # GPTNeoXModel
    "transformers_5": (*_BASE, (r"^embed_out\.", "lm_head.")),
    "gptj": (*_GPTJ, *_BELOW),
    "gptj_model": _GPTJ,
    "bloom": (*_BLOOM, *_BELOW),
    "bloom_model": _BLOOM,  # BloomModel, and bigscience/bloom-560m
    "falcon": (*_FALCON, *_BELOW),
    "falcon_model": _FALCON,
}
IGNORED = {
    r"(.*\.)?(attention|attn)\.(masked_)?bias": "causal masks, which are computed",
    r"(.*\.)?rotary_emb\.inv_freq": "frequencies, which are computed",
    r"(embed_out|lm_head)\..*": "the language model's head",
    r"(score|classifier)\..*": "the head of a classifier",
}
TIED = {"embed_out.weight": "embed_in.weight", "lm_head.weight": "word_embeddings.weight"}
_ABSENT = {"max_position_embeddings": 2048, "eos_token_id": 2}


def _read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with rotary positions as transformers 5 has them."""
    found = {**_ABSENT, **config}
    base, part = found.pop("rotary_emb_base", 10000), found.pop("rotary_pct", 0.25)
    return with_rope({"rope_theta": base, "partial_rotary_factor": part, **found})


def _read_gptj(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of GPT-J with rotary positions as transformers 5 has those of others."""
    found = {"rotary_dim": 64, "n_embd": 4096, "n_head": 16, "eos_token_id": 50256, **config}
    size, turning = found["n_embd"] // found["n_head"], found.pop("rotary_dim")
    # The next larger number, since the product with the size is cut off.
    rope = {"partial_rotary_factor": math.nextafter(turning / size, 2)}
    inner = found.get("n_inner") or 4 * found["n_embd"]
    return found | {"rope_parameters": rope, "n_inner": inner}


def _write_gptj(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of GPT-J with the number of a head's numbers that turn."""
    found = dict(config)
    rope = found.pop("rope_parameters")
    return found | {"rotary_dim": int(found["n_embd"] // found["n_head"] * rope["partial_rotary_factor"])}


def _read_bloom(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of BLOOM with its sizes under one name each."""
    found = {"hidden_size": 64, "n_layer": 2, "n_head": 8, "eos_token_id": 2, **config}
    today = {"n_embed": "hidden_size", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
    for old, name in today.items():
        value = found.pop(old, None)
        found |= {} if value is None else {name: value}
    dropout = found.get("classifier_dropout", found.get("hidden_dropout", 0.0))
    return found | {"intermediate_size": 4 * found["hidden_size"], "classifier_dropout": dropout}


def _read_falcon(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Falcon as its newer architecture has them, of which the older is a case."""
    found = {
        "vocab_size": 65024,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "max_position_embeddings": 2048,
        "eos_token_id": 11,
        "bias": False,
        **config,
    }
    new, single = found.pop("new_decoder_architecture", False), found.pop("multi_query", True)
    if not found.get("num_ln_in_parallel_attn"):
        found["num_ln_in_parallel_attn"] = 2 if new else 1
    kv_heads = found.get("num_kv_heads") or found["num_attention_heads"]
    found["num_kv_heads"] = 1 if single and not new else kv_heads
    found["ffn_hidden_size"] = found.get("ffn_hidden_size") or 4 * found["hidden_size"]
    return with_rope({"partial_rotary_factor": 1.0} | found | {"mlp_bias": found["bias"]})


def _write_falcon(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Falcon with the switch of its newer architecture, and its one norm."""
    return {**config, "new_decoder_architecture": True, "num_ln_in_parallel_attn": 1}


_SUMMARY = (
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
)
_TRAINING = (
    "attention_softmax_in_fp32",
    "bias_dropout_fusion",
    "masked_softmax_fusion",
    "offset_alibi",
    "pretraining_tp",
    "skip_bias_add",
    "skip_bias_add_qkv",
    "slow_but_exact",
)
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
    ),
    "gptj": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "n_positions": "max_length",
            "n_embd": "width",
            "n_layer": "depth",
            "n_head": "heads",
            "n_inner": "feed_forward",
            "activation_function": "activation",
            "layer_norm_epsilon": "epsilon",
            "rope_parameters": "rope",
            "resid_pdrop": "dropout",
            "embd_pdrop": "embedding_dropout",
            "attn_pdrop": "attention_dropout",
            "pad_token_id": "pad_token_id",
        },
        heads={
            "GPTJModel": {"head": "none"},
            "GPTJForCausalLM": {"head": "lm"},
            "GPTJForSequenceClassification": {"head": "classification"},
        },
        layouts={"GPTJModel": "gptj_model", "": "gptj"},
        fixed_for={"lm": {"tie_word_embeddings": False}},
        irrelevant=("n_ctx", "rotary", "scale_attn_weights", *_SUMMARY),  # heads that it lacks
        defaults={
            "vocab_size": 50400,
            "depth": 28,
            "activation": "gelu_tanh",
            "fused": False,
            "neighbors": True,
            "one_norm": True,
            "attention_bias": False,
            "head_bias": True,
        },
        classifies=True,
        read=_read_gptj,
        write=_write_gptj,
    ),
    "bloom": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "seq_length": "max_length",
            "hidden_size": "width",
            "n_layer": "depth",
            "n_head": "heads",
            "intermediate_size": "feed_forward",
            "layer_norm_epsilon": "epsilon",
            "hidden_dropout": "dropout",
            "attention_dropout": "attention_dropout",
            "classifier_dropout": "classifier_dropout",
            "tie_word_embeddings": "tied",
            "pad_token_id": "pad_token_id",
        },
        heads={
            "BloomModel": {"head": "none"},
            "BloomForCausalLM": {"head": "lm"},
            "BloomForSequenceClassification": {"head": "classification"},
            "BloomForTokenClassification": {"head": "token_classification"},
        },
        layouts={"BloomModel": "bloom_model", "": "bloom"},
        fixed={"apply_residual_connection_post_layernorm": False},
        irrelevant=("n_inner", *_TRAINING),  # the hidden layer is four times as wide whatever it says
        defaults={
            "vocab_size": 250880,
            "alibi": True,
            "embedding_norm": True,
            "embedding_dropout": 0.0,
            "activation": "gelu_bloom",
            "parallel": False,
            "tied": True,
        },
        classifies=True,
        read=_read_bloom,
    ),
    "falcon": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "hidden_size": "width",
            "num_hidden_layers": "depth",
            "num_attention_heads": "heads",
            "num_kv_heads": "kv_heads",
            "ffn_hidden_size": "feed_forward",
            "activation": "activation",
            "layer_norm_epsilon": "epsilon",
            "rope_parameters": "rope",
            "bias": "attention_bias",
            "mlp_bias": "mlp_bias",
            "attention_dropout": "attention_dropout",
            "classifier_dropout": "classifier_dropout",
            "tie_word_embeddings": "tied",
            "pad_token_id": "pad_token_id",
        },
        heads={
            "FalconModel": {"head": "none"},
            "FalconForCausalLM": {"head": "lm"},
            "FalconForSequenceClassification": {"head": "classification"},
            "FalconForTokenClassification": {"head": "token_classification"},
        },
        layouts={"FalconModel": "falcon_model", "": "falcon"},
        # With ALiBi, attention has other factors; dropout is of the sum of both branches.
        fixed={"alibi": False, "hidden_dropout": 0.0, "num_ln_in_parallel_attn": 1, "parallel_attn": True},
        irrelevant=("apply_residual_connection_post_layernorm",),
        classifies=True,
        defaults={"one_norm": True, "tied": True, "classifier_dropout": 0.0},
        read=_read_falcon,
        write=_write_falcon,
    ),
}
