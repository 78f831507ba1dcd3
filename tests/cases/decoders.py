"""Cases of the decoders of today: rotary positions, grouped heads, windows, and norms of several kinds."""

from functools import partial

from tests.cases.case import Case, ids, kept
from tests.reference.decoders import bloom, decoder, mixture

# A padded token sees a kept one in its window: what nothing is kept for differs between the frameworks.
TOKENS = [ids(3, 17, 48) + 2, kept(17, 14, 13, length=17)]
SIZES = {
    "vocab_size": 50,
    "max_length": 40,
    "width": 24,
    "depth": 2,
    "heads": 4,
    "kv_heads": 2,
    "feed_forward": 40,
}
PLAIN = {name: value for name, value in SIZES.items() if name != "kv_heads"}
NOTHING = {"dropout": 0.0}
ROPE = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 3.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
TYPES = ["sliding_attention", "full_attention"]

CASES = {
    "llama": Case(
        "llama",
        {**SIZES, "attention_bias": True, "mlp_bias": True, "rope": ROPE},
        partial(
            decoder,
            "LlamaForCausalLM",
            num_key_value_heads=2,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters=dict(ROPE),
        ),
        TOKENS,
        layout="transformers",
    ),
    "llama, gemma": Case(
        "llama",
        {
            **SIZES,
            "head_dim": 10,
            "activation": "gelu_tanh",
            "normalization": "rms_plus_one",
            "norms": "both",
            "rope": {"rope_theta": 100.0},
            "sliding_window": 5,
            "layer_types": TYPES,
            "query_scalar": 7,
            "attention_cap": 3.0,
            "scale_embeddings": True,
            "head": "none",
        },
        partial(
            decoder,
            "Gemma2Model",
            num_key_value_heads=2,
            head_dim=10,
            rope_parameters={"rope_theta": 100.0},
            sliding_window=5,
            layer_types=TYPES,
            query_pre_attn_scalar=7,
            attn_logit_softcapping=3.0,
            attn_implementation="eager",
        ),
        TOKENS,
        layout="transformers_model",
    ),
    "llama, experts": Case(
        "llama",
        {
            **SIZES,
            "qkv_bias": True,
            "experts": 4,
            "expert_feed_forward": 16,
            "shared_feed_forward": 12,
            "dense_layers": [0],
        },
        partial(
            mixture,
            "Qwen2MoeForCausalLM",
            num_key_value_heads=2,
            num_experts=4,
            num_experts_per_tok=2,
            norm_topk_prob=True,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=12,
            mlp_only_layers=[0],
        ),
        TOKENS,
        layout="transformers",
        slow=True,
    ),
    "gpt_neox": Case(
        "gpt_neox",
        {**PLAIN, "rope": {"partial_rotary_factor": 0.5}},
        partial(decoder, "GPTNeoXForCausalLM", rope_parameters={"partial_rotary_factor": 0.5}),
        TOKENS,
        layout="transformers_5",
    ),
    "gpt_neox, gptj": Case(
        "gpt_neox",
        {
            **PLAIN,
            "rope": {"partial_rotary_factor": 0.67},
            "activation": "gelu_tanh",
            "neighbors": True,
            "one_norm": True,
            "fused": False,
            "attention_bias": False,
            "head_bias": True,
        },
        partial(decoder, "GPTJForCausalLM", rotary_dim=4, attn_implementation="eager"),
        TOKENS,
        layout="gptj",
        slow=True,
    ),
    "gpt_neox, bloom": Case(
        "gpt_neox",
        {
            **PLAIN,
            "heads": 3,
            "feed_forward": 96,
            "activation": "gelu_bloom",
            "alibi": True,
            "embedding_norm": True,
            "parallel": False,
            "head": "none",
        },
        partial(bloom, "BloomModel", num_attention_heads=3, attn_implementation="eager"),
        TOKENS,
        layout="bloom_model",
        slow=True,
    ),
    "opt": Case(
        "opt",
        {**PLAIN, "embedding_width": 16, "norm_first": False, "head": "none", **NOTHING},
        partial(
            decoder,
            "OPTModel",
            do_layer_norm_before=False,
            word_embed_proj_dim=16,
            dropout=0.0,
        ),
        TOKENS,
        layout="transformers_model",
    ),
}
DROPOUT_CASES = {
    "gpt_neox": Case(
        "gpt_neox",
        {**PLAIN, "dropout": 0.2, "attention_dropout": 0.2},
        partial(decoder, "GPTNeoXForCausalLM", hidden_dropout=0.2, attention_dropout=0.2),
        TOKENS,
        layout="transformers_5",
    ),
    "opt": Case(
        "opt",
        {**PLAIN, "dropout": 0.2, "attention_dropout": 0.2, "head": "none"},
        partial(decoder, "OPTModel", dropout=0.2, attention_dropout=0.2),
        TOKENS,
        layout="transformers_model",
    ),
    "llama": Case(
        "llama",
        {**PLAIN, "kv_heads": 2, "attention_dropout": 0.2},
        partial(decoder, "LlamaForCausalLM", num_key_value_heads=2, attention_dropout=0.2),
        TOKENS,
        layout="transformers",
    ),
}
