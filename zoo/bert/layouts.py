"""Names of tensors and options in the Hub's files of BERT and its relatives."""

from zoo._registry.family import ConfigFields

_BASE = r"^(embeddings|encoder|pooler)\."
_GAMMA = ((r"LayerNorm\.weight$", "LayerNorm.gamma"), (r"LayerNorm\.bias$", "LayerNorm.beta"))
_ROBERTA = (
    (r"^cls\.predictions\.(transform\.)?", "lm_head."),
    (r"^lm_head\.LayerNorm\.", "lm_head.layer_norm."),
)
_OF_TEXTS = ((r"^classifier\.", "classifier.out_proj."), (r"^pre_classifier\.", "classifier.dense."))
_DISTILBERT = (
    (r"^encoder\.", "transformer."),
    (r"\.attention\.self\.(query|key|value)\.", r".attention.\1_lin."),
    (r"(q)uery_lin|(k)ey_lin|(v)alue_lin", r"\1\2\3_lin"),
    (r"\.attention\.output\.dense\.", ".attention.out_lin."),
    (r"\.attention\.output\.LayerNorm\.", ".sa_layer_norm."),
    (r"\.intermediate\.dense\.", ".ffn.lin1."),
    (r"(layer\.\d+)\.output\.dense\.", r"\1.ffn.lin2."),
    (r"(layer\.\d+)\.output\.LayerNorm\.", r"\1.output_layer_norm."),
    (r"^cls\.predictions\.transform\.dense\.", "vocab_transform."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "vocab_layer_norm."),
    (r"^cls\.predictions\.", "vocab_projector."),
)
TORCH_NAMES = {
    "transformers": ((_BASE, r"bert.\1."),),
    "transformers_model": (),  # BertModel, and most files of sentence-transformers
    "google": ((_BASE, r"bert.\1."), *_GAMMA),  # what was converted from TensorFlow has its names of norms
    "google_model": _GAMMA,
    "roberta": (*_ROBERTA, *_OF_TEXTS, (_BASE, r"roberta.\1.")),
    "roberta_tokens": (*_ROBERTA, (_BASE, r"roberta.\1.")),  # a classifier of tokens or choices is one layer
    "roberta_model": (*_ROBERTA, *_OF_TEXTS),
    "data2vec": (*_ROBERTA, *_OF_TEXTS, (_BASE, r"data2vec_text.\1.")),
    "data2vec_tokens": (*_ROBERTA, (_BASE, r"data2vec_text.\1.")),
    "distilbert": (*_DISTILBERT, (r"^(embeddings|transformer)\.", r"distilbert.\1.")),
    "distilbert_model": _DISTILBERT,
}

IGNORED = {
    r"(.*\.)?position_ids": "positions, which are computed",
    r"(.*\.)?pooler\..*": "the pooler",
    r"cls\.seq_relationship\..*": "the head that tells whether one sentence follows another",
    r"(cls\.predictions|lm_head|vocab_(transform|layer_norm|projector))\..*": "the language model's head",
    r"(pre_)?classifier\..*": "the head of a classifier",
    r"qa_outputs\..*": "the head that finds answers",
}
TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
    "vocab_projector.weight": "embeddings.word_embeddings.weight",
}

_SIZES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_length",
    "type_vocab_size": "token_types",
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
    "hidden_act": "activation",
    "layer_norm_eps": "epsilon",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "classifier_dropout": "classifier_dropout",
    "pad_token_id": "pad_token_id",
}
_FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "tie_word_embeddings": True,
}


def _heads(prefix: str, base: str) -> dict[str, dict[str, str]]:
    return {
        f"{prefix}Model": {"head": base},
        f"{prefix}ForMaskedLM": {"head": "masked_lm"},
        f"{prefix}ForSequenceClassification": {"head": "classification"},
    }


CONFIG_FIELDS = {
    "bert": ConfigFields(
        keywords=_SIZES, heads=_heads("Bert", "pooler"), fixed=_FIXED, classifies=True, embeds=True
    ),
    "roberta": ConfigFields(
        keywords=_SIZES,
        heads=_heads("Roberta", "pooler"),
        fixed=_FIXED,
        defaults={"variant": "roberta", "vocab_size": 50265, "pad_token_id": 1},
        classifies=True,
        embeds=True,
    ),
    "distilbert": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "dim": "width",
            "n_layers": "depth",
            "n_heads": "heads",
            "hidden_dim": "feed_forward",
            "activation": "activation",
            "dropout": "dropout",
            "attention_dropout": "attention_dropout",
            "seq_classif_dropout": "classifier_dropout",
        },
        heads=_heads("DistilBert", "none"),
        # How positions were initialised is in the weights, whichever it was.
        fixed={"tie_weights_": True, "tie_word_embeddings": True, "is_encoder_decoder": False},
        irrelevant=("pad_token_id", "qa_dropout", "sinusoidal_pos_embds"),
        defaults={"variant": "distilbert", "token_types": 0, "depth": 6, "classifier_dropout": 0.2},
        classifies=True,
        embeds=True,
    ),
}
