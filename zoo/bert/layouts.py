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
    "ernie": ((_BASE, r"ernie.\1."),),
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
    "emb_size": "width",
    "embedding_size": "width",  # another one would need a projection
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
    "hidden_act": "activation",
    "layer_norm_eps": "epsilon",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "classifier_dropout": "classifier_dropout",
    "is_decoder": "causal",
    "pad_token_id": "pad_token_id",
}
_TIED = {"tie_word_embeddings": True, "tie_weights_": True}
_TIED_HEADS = dict.fromkeys(("masked_lm", "causal_lm", "pretraining"), _TIED)


def _heads(prefix: str, base: str) -> dict[str, dict[str, str]]:
    return {
        f"{prefix}Model": {"head": base},
        f"{prefix}ForMaskedLM": {"head": "masked_lm"},
        f"{prefix}ForCausalLM": {"head": "causal_lm"},
        f"{prefix}ForSequenceClassification": {"head": "classification"},
        f"{prefix}ForTokenClassification": {"head": "token_classification"},
        f"{prefix}ForQuestionAnswering": {"head": "question_answering"},
        f"{prefix}ForMultipleChoice": {"head": "multiple_choice"},
    }


def _bert(prefix: str, causal: str, names: str, **keywords: str) -> ConfigFields:
    """Returns how BERT's config.json is read, or that of a model which is BERT under another name."""
    return ConfigFields(
        keywords={**_SIZES, **keywords},
        heads={
            **_heads(prefix, "pooler"),
            causal: {"head": "causal_lm"},
            f"{prefix}ForNextSentencePrediction": {"head": "next_sentence"},
            f"{prefix}ForPreTraining": {"head": "pretraining"},
        },
        fixed_for=_TIED_HEADS,
        layouts={f"{prefix}Model": "transformers_model", "": names},
        classifies=True,
        embeds=True,
    )


def _roberta(prefix: str, vocab_size: int, names: str = "roberta") -> ConfigFields:
    return ConfigFields(
        keywords=_SIZES,
        heads=_heads(prefix, "pooler"),
        fixed_for=_TIED_HEADS,
        layouts={
            f"{prefix}Model": "roberta_model",
            f"{prefix}ForTokenClassification": f"{names}_tokens",
            f"{prefix}ForMultipleChoice": f"{names}_tokens",
            "": names,
        },
        defaults={"variant": "roberta", "vocab_size": vocab_size, "pad_token_id": 1},
        classifies=True,
        embeds=True,
    )


CONFIG_FIELDS = {
    "bert": _bert("Bert", "BertLMHeadModel", "transformers"),
    "ernie": _bert(
        "Ernie",
        "ErnieForCausalLM",
        "ernie",
        task_type_vocab_size="task_types",
        use_task_id="reads_tasks",
    ),
    "roberta": _roberta("Roberta", 50265),
    "xlm-roberta": _roberta("XLMRoberta", 30522),
    "camembert": _roberta("Camembert", 30522),
    "data2vec-text": _roberta("Data2VecText", 30522, "data2vec"),
    "distilbert": ConfigFields(
        keywords={
            "vocab_size": "vocab_size",
            "max_position_embeddings": "max_length",
            "dim": "width",
            "hidden_size": "width",
            "n_layers": "depth",
            "num_hidden_layers": "depth",
            "n_heads": "heads",
            "num_attention_heads": "heads",
            "hidden_dim": "feed_forward",
            "activation": "activation",
            "dropout": "dropout",
            "attention_dropout": "attention_dropout",
            "seq_classif_dropout": "classifier_dropout",
            "qa_dropout": "answer_dropout",
        },
        heads=_heads("DistilBert", "none"),
        fixed_for=_TIED_HEADS,
        layouts={"DistilBertModel": "distilbert_model", "": "distilbert"},
        # How positions were initialised is in the weights, whichever it was.
        irrelevant=("sinusoidal_pos_embds",),
        defaults={
            "variant": "distilbert",
            "token_types": 0,
            "depth": 6,
            "classifier_dropout": 0.2,
            "answer_dropout": 0.1,
        },
        classifies=True,
        embeds=True,
    ),
}
