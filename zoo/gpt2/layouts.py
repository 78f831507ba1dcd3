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
_SUMMARY = {
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "summary_proj_to_labels": True,
    "summary_activation": None,
    "summary_last_dropout": 0,
}
CONFIG_FIELDS = {
    "gpt2": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "n_positions": "max_length",
            "max_position_embeddings": "max_length",
            "n_embd": "width",
            "hidden_size": "width",
            "n_layer": "depth",
            "num_hidden_layers": "depth",
            "n_head": "heads",
            "num_attention_heads": "heads",
            "n_inner": "feed_forward",
            "activation_function": "activation",
            "layer_norm_epsilon": "epsilon",
            "resid_pdrop": "dropout",
            "attn_pdrop": "attention_dropout",
            "embd_pdrop": "embedding_dropout",
            "classifier_dropout": "classifier_dropout",
            "summary_first_dropout": "summary_dropout",
            "scale_attn_weights": "scale_attention",
            "scale_attn_by_inverse_layer_idx": "scale_by_layer",
            "pad_token_id": "pad_token_id",
        },
        heads={
            "GPT2Model": {"head": "none"},
            "GPT2LMHeadModel": {"head": "lm"},
            "GPT2DoubleHeadsModel": {"head": "double_heads"},
            "GPT2ForSequenceClassification": {"head": "classification"},
            "GPT2ForTokenClassification": {"head": "token_classification"},
            "GPT2ForQuestionAnswering": {"head": "question_answering"},
        },
        layouts={"GPT2Model": "transformers_model", "": "transformers"},
        fixed={"n_special": 0},
        fixed_for={
            "lm": {"tie_word_embeddings": True},
            "double_heads": {"tie_word_embeddings": True, **_SUMMARY},
        },
        irrelevant=(
            "n_ctx",  # n_positions again
            "predict_special_tokens",
            "reorder_and_upcast_attn",  # products and softmax are in float32 whatever it says
            *_SUMMARY,
        ),
        classifies=True,
        embeds=True,
    )
}
