"""Names of tensors and options in the Hub's files of GPT-2."""

from zoo._registry.family import ConfigFields

TORCH_NAMES = {
    "transformers": ((r"^(wte|wpe|h|ln_f)\.", r"transformer.\1."),),
    "transformers_model": (),  # GPT2Model, and openai-community/gpt2
}

IGNORED = {
    r"(.*\.)?h\.\d+\.attn\.(masked_)?bias": "causal masks, which are computed",
    r"(score|classifier)\..*": "the head of a classifier",
    r"qa_outputs\..*": "the head that finds answers",
    r"multiple_choice_head\..*": "the head that chooses a text",
}
TIED = {"lm_head.weight": "wte.weight"}
CONFIG_FIELDS = {
    "gpt2": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "n_positions": "max_length",
            "n_embd": "width",
            "n_layer": "depth",
            "n_head": "heads",
            "n_inner": "feed_forward",
            "activation_function": "activation",
            "layer_norm_epsilon": "epsilon",
            "resid_pdrop": "dropout",
            "attn_pdrop": "attention_dropout",
            "embd_pdrop": "embedding_dropout",
        },
        heads={"GPT2LMHeadModel": {"head": "lm"}, "GPT2Model": {"head": "none"}},
        fixed={
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "reorder_and_upcast_attn": False,
            "add_cross_attention": False,
            "tie_word_embeddings": True,
            "is_encoder_decoder": False,
            "n_special": 0,
        },
        irrelevant=(
            "n_ctx",  # n_positions again
            "pad_token_id",
            "predict_special_tokens",
            *(
                f"summary_{name}"
                for name in ("activation", "first_dropout", "proj_to_labels", "type", "use_proj")
            ),
        ),
    )
}
