"""The repositories of text_repositories.py: what the Hub's have, with few layers and small."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
}
BERT = {
    "model_type": "bert",
    "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "transformers_version": "4.8.2",
    "type_vocab_size": 2,
    "use_cache": True,
    **SIZES,
}
ROBERTA = {
    **BERT,
    "model_type": "roberta",
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 82,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
DISTILBERT = {
    "model_type": "distilbert",
    "activation": "gelu",
    "attention_dropout": 0.1,
    "dim": 32,
    "dropout": 0.1,
    "hidden_dim": 64,
    "initializer_range": 0.02,
    "max_position_embeddings": 80,
    "n_heads": 4,
    "n_layers": 2,
    "output_past": True,
    "pad_token_id": 0,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
}
GPT2 = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "attn_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-5,
    "n_ctx": 80,
    "n_embd": 32,
    "n_head": 4,
    "n_layer": 2,
    "n_positions": 80,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}
MEAN = {
    "word_embedding_dimension": 32,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}
CLS = {**MEAN, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
NEWEST = {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True}
TANH = {
    "in_features": 32,
    "out_features": 16,
    "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}
IDENTITY = {**TANH, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"}


def labels(*names: str) -> dict[str, Any]:
    """Returns what config.json says of classes."""
    numbered = dict(enumerate(names))
    return {
        "id2label": {str(index): name for index, name in numbered.items()},
        "label2id": {n: i for i, n in numbered.items()},
    }


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository to make.

    Attributes:
        verb: Its purpose: embed, predict or generate; "pairs" and "cross" are predict's of two texts.
        config: Its config.json.
        architecture: transformers' class.
        tokens: Which tokenizer: words, pairs or pieces.
        vocabulary: If true, with the tokenizer's early files instead of tokenizer.json.
        steps: Steps of sentence-transformers after the transformer, with their options.
        files: Other files with JSON.
        lower: If true, the tokenizer lowercases.
        binary: If true, the weights are in pytorch_model.bin.
        folder: Where the transformer is.
        dtype: Dtype of the weights.
        arguments: Arguments of the verb.
    """

    verb: str
    config: Mapping[str, Any]
    architecture: str
    tokens: str = "words"
    vocabulary: bool = False
    steps: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    files: Mapping[str, Any] = field(default_factory=dict)
    lower: bool = True
    binary: bool = False
    folder: str = ""
    dtype: torch.dtype = torch.float32
    arguments: tuple[str, ...] = ()


def sentences(pooling: Mapping[str, Any], *more: tuple[str, Mapping[str, Any]], **options: Any) -> Repository:
    """Returns an encoder with the files of sentence-transformers."""
    defaults = {"verb": "embed", "config": BERT, "architecture": "BertModel"}
    files = {
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        **options.pop("files", {}),
    }
    return Repository(steps=(("Pooling", pooling), *more), files=files, **{**defaults, **options})


def classifier(verb: str = "predict", *names: str, **options: Any) -> Repository:
    """Returns a classifier of texts."""
    given = options.pop("config", {})
    config = {**({} if "model_type" in given else BERT), **labels(*names), **given}
    return Repository(
        verb=verb, config=config, **{"architecture": "BertForSequenceClassification", **options}
    )


NORMALIZE = ("Normalize", {})
QUERY = {"prompts": {"query": "query: ", "passage": ""}, "default_prompt_name": "query"}
VERSIONS = {"__version__": {"sentence_transformers": "2.0.0", "transformers": "4.7.0", "pytorch": "1.9.0"}}
XLM = {**ROBERTA, "model_type": "xlm-roberta", "output_past": True}
CAMEMBERT = {**ROBERTA, "model_type": "camembert", "output_past": True}
PROMPTS = "config_sentence_transformers.json"
STOP = "generation_config.json"  # with the token that ends a text, which is chosen when it is made
SIGMOID = "torch.nn.modules.activation.Sigmoid"

REPOSITORIES: Mapping[str, Repository] = {
    "all-MiniLM-L12-v2": sentences(MEAN, NORMALIZE, files={PROMPTS: VERSIONS}),
    "bge-small-en-v1.5": sentences(
        CLS,
        NORMALIZE,
        config={**BERT, **labels("LABEL_0"), "classifier_dropout": None, "torch_dtype": "float32"},
    ),
    "e5-small-v2": sentences(MEAN, NORMALIZE, config={**BERT, "_name_or_path": "tmp/"}),
    "gte-small": sentences(MEAN, NORMALIZE, dtype=torch.float16, config={**BERT, "torch_dtype": "float16"}),
    "multi-qa-MiniLM-L6-cos-v1": sentences(
        {**MEAN, "pooling_mode_weightedmean_tokens": False, "pooling_mode_lasttoken": False}, NORMALIZE
    ),
    "msmarco-distilbert-base-v4": sentences(
        MEAN, config=DISTILBERT, architecture="DistilBertModel", binary=True
    ),
    "distiluse-base-multilingual-cased": sentences(
        MEAN, ("Dense", TANH), config=DISTILBERT, architecture="DistilBertModel", lower=False, binary=True
    ),
    "LaBSE": sentences(
        CLS,
        ("Dense", TANH),
        NORMALIZE,
        lower=False,
        config={
            **BERT,
            "directionality": "bidi",
            "pooler_fc_size": 768,
            "pooler_num_attention_heads": 12,
            "pooler_num_fc_layers": 3,
            "pooler_size_per_head": 128,
            "pooler_type": "first_token_transform",
        },
    ),
    "clip-like Dense without bias": sentences(MEAN, ("Dense", IDENTITY)),
    "paraphrase-multilingual-MiniLM-L12-v2": sentences(
        MEAN, tokens="pieces", config={**BERT, "pad_token_id": 0}
    ),
    "all-distilroberta-v1": sentences(
        MEAN, NORMALIZE, config=ROBERTA, architecture="RobertaModel", tokens="pairs"
    ),
    "paraphrase-xlm-r-multilingual-v1": sentences(
        MEAN, config=XLM, architecture="XLMRobertaModel", tokens="pieces"
    ),
    "snowflake-arctic-embed-xs": sentences(CLS, NORMALIZE, files={PROMPTS: QUERY}),
    "bert-base-nli-mean-tokens (0_Transformer)": sentences(
        MEAN, folder="0_BERT", binary=True, vocabulary=True
    ),
    "bert-base-nli-max-tokens": sentences(
        {**MEAN, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True},
        vocabulary=True,
        binary=True,
    ),
    "SGPT-like weighted mean": sentences(
        {**MEAN, "pooling_mode_mean_tokens": False, "pooling_mode_weightedmean_tokens": True}
    ),
    "cls and mean": sentences({**MEAN, "pooling_mode_cls_token": True}),
    "as 5.4 writes it": sentences(NEWEST, NORMALIZE),
    "uncased text, cased tokens": sentences(
        MEAN, lower=False, files={"sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": True}}
    ),
    "sup-simcse-bert-base-uncased": Repository(
        verb="embed",
        config={**BERT, "architectures": ["BertModel"]},
        architecture="BertModel",
        binary=True,
        vocabulary=True,
        arguments=("--pooling", "cls"),
    ),
    "distilbert-base-uncased-finetuned-sst-2-english": classifier(
        "predict",
        "NEGATIVE",
        "POSITIVE",
        config={**DISTILBERT, "finetuning_task": "sst-2"},
        architecture="DistilBertForSequenceClassification",
        vocabulary=True,
    ),
    "twitter-roberta-base-sentiment": classifier(
        "predict",
        "LABEL_0",
        "LABEL_1",
        "LABEL_2",
        config=ROBERTA,
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
        vocabulary=True,
        binary=True,
    ),
    "finbert": classifier("predict", "positive", "negative", "neutral", vocabulary=True, binary=True),
    "bert-base-multilingual-uncased-sentiment": classifier(
        "predict",
        *(f"{n} stars" for n in "12345"),
        config={"_num_labels": 5, "output_past": True, "directionality": "bidi"},
    ),
    "toxic-bert": classifier(
        "predict",
        "toxic",
        "severe_toxic",
        "obscene",
        "threat",
        config={"problem_type": "multi_label_classification"},
    ),
    "roberta-base-go_emotions": classifier(
        "predict",
        "admiration",
        "anger",
        "joy",
        config={**ROBERTA, "problem_type": "multi_label_classification"},
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
    ),
    "reward-model (regression)": classifier("predict", "LABEL_0", config={"problem_type": "regression"}),
    "bert-base-cased-mnli": classifier("pairs", "entailment", "neutral", "contradiction", lower=False),
    "roberta-large-mnli": classifier(
        "pairs",
        "CONTRADICTION",
        "NEUTRAL",
        "ENTAILMENT",
        config={**ROBERTA, "_num_labels": 3},
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
        vocabulary=True,
    ),
    "xlm-roberta-base-language-detection": classifier(
        "predict",
        "en",
        "fr",
        "ja",
        config=XLM,
        architecture="XLMRobertaForSequenceClassification",
        tokens="pieces",
    ),
    "distilcamembert-base-sentiment": classifier(
        "predict",
        "1 star",
        "2 stars",
        config=CAMEMBERT,
        architecture="CamembertForSequenceClassification",
        tokens="pieces",
    ),
    "ms-marco-MiniLM-L6-v2": classifier(
        "cross",
        "LABEL_0",
        config={"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        vocabulary=True,
    ),
    "stsb-roberta-base": classifier(
        "cross",
        "LABEL_0",
        config={**ROBERTA, "sentence_transformers": {"activation_fn": SIGMOID, "version": "4.0.1"}},
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
    ),
    "a cross-encoder as 6.2 writes it": classifier(
        "cross",
        "LABEL_0",
        files={
            PROMPTS: {"model_type": "CrossEncoder", "activation_fn": SIGMOID},
            "modules.json": [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "",
                    "type": "sentence_transformers.base.modules.transformer.Transformer",
                }
            ],
            "sentence_bert_config.json": {
                "transformer_task": "sequence-classification",
                "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
                "module_output_name": "scores",
            },
        },
    ),
    "gpt2": Repository(verb="generate", config=GPT2, architecture="GPT2LMHeadModel", tokens="pairs"),
    "distilgpt2": Repository(
        verb="generate",
        config={**GPT2, "_num_labels": 1, **labels("LABEL_0")},
        architecture="GPT2LMHeadModel",
        tokens="pairs",
        vocabulary=True,
    ),
    "DialoGPT-small (float16)": Repository(
        verb="generate", config=GPT2, architecture="GPT2LMHeadModel", tokens="pairs", dtype=torch.float16
    ),
    "german-gpt2 (a stop in generation_config.json)": Repository(
        verb="generate",
        config=GPT2,
        architecture="GPT2LMHeadModel",
        tokens="pairs",
        files={
            "generation_config.json": {
                "_from_model_config": True,
                "eos_token_id": "SECOND",
                "transformers_version": "4.27.0",
            }
        },
    ),
}
