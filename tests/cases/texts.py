"""Cases of transformer, gpt2 and bert; those of dropout, and of the heads."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from tests.cases.case import Case, ids, kept
from tests.reference import text_models, twins

TEXTS = [ids(3, 7, 11), ids(3, 5, 13), kept(7, 3, 4, length=7), kept(2, 5, 4, length=5)]
TRANSFORMER = {
    "source_vocab_size": 11,
    "target_vocab_size": 13,
    "width": 12,
    "heads": 3,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "feed_forward": 20,
    "dropout": 0.0,
}


def transformer(**options: Any) -> torch.nn.Module:
    return twins.Transformer(
        d_model=12,
        nhead=3,
        num_encoder_layers=2,
        num_decoder_layers=3,
        dim_feedforward=20,
        **{"dropout": 0.0, **options},
    )


GPT2 = {"vocab_size": 50, "max_length": 40, "width": 24, "depth": 2, "heads": 3}
BERT = {"vocab_size": 50, "max_length": 40, "width": 24, "depth": 2, "heads": 3, "feed_forward": 40}
NOTHING = {"dropout": 0.0, "attention_dropout": 0.0}
ROBERTA = {"variant": "roberta", "token_types": 1, "epsilon": 1e-5, "pad_token_id": 1}
DISTILBERT = {"variant": "distilbert", "token_types": 0}
# Without the padding tokens 0 and 1, whose embeddings get no gradient in PyTorch; lengths are odd.
TOKENS = [ids(3, 17, 48) + 2, kept(17, 9, 3, length=17)]
PAIRS = [*TOKENS, ids(3, 17, 2, seed=5), np.arange(17)[::-1] + ids(3, 1, 20)]

SMALL = {"vocab_size": 50, "max_length": 40, "width": 12, "depth": 2, "heads": 2, "feed_forward": 20}


def relative(
    name: str,
    family: str,
    config: Mapping[str, Any],
    inputs: Sequence[np.ndarray],
    layout: str,
    **options: Any,
) -> Case:
    """A class of transformers in a family that has BERT's keywords."""
    return Case(
        family,
        {**SMALL, **NOTHING, **config},
        partial(text_models.relative, name, **options),
        inputs,
        layout=layout,
    )


CASES = {
    "transformer": Case("transformer", TRANSFORMER, transformer, TEXTS, layout="torch"),
    "transformer, norms first": Case(
        "transformer",
        {**TRANSFORMER, "norm_first": True, "activation": "gelu"},
        lambda: transformer(norm_first=True, activation="gelu"),
        TEXTS,
        layout="torch",
        slow=True,
    ),
    "gpt2": Case(
        "gpt2",
        {**GPT2, **NOTHING, "embedding_dropout": 0.0},
        text_models.gpt2,
        TOKENS,
        layout="transformers",
    ),
    "gpt2, states": Case(
        "gpt2",
        {
            **GPT2,
            **NOTHING,
            "embedding_dropout": 0.0,
            "feed_forward": 40,
            "activation": "relu",
            "epsilon": 1e-3,
            "head": "none",
        },
        lambda: text_models.gpt2(
            "GPT2Model", n_inner=40, activation_function="relu", layer_norm_epsilon=1e-3
        ),
        PAIRS,
        layout="transformers_model",
        slow=True,
    ),
    "bert": Case("bert", {**BERT, **NOTHING}, text_models.bert, PAIRS, layout="transformers_model"),
    "bert, masked": Case(
        "bert",
        {**BERT, **NOTHING, "head": "masked_lm", "activation": "relu"},
        lambda: text_models.bert("BertForMaskedLM", hidden_act="relu"),
        TOKENS,
        layout="transformers",
        slow=True,
    ),
    "bert, classifier": Case(
        "bert",
        {**BERT, **NOTHING, "head": "classification", "num_classes": 3},
        lambda: text_models.bert("BertForSequenceClassification", num_labels=3),
        TOKENS,
        layout="transformers",
        slow=True,
    ),
    "roberta": Case(
        "bert",
        {**BERT, **NOTHING, **ROBERTA},
        lambda: text_models.bert("RobertaModel", type_vocab_size=1, layer_norm_eps=1e-5),
        TOKENS,
        layout="roberta_model",
        slow=True,
    ),
    "roberta, masked": Case(
        "bert",
        {**BERT, **NOTHING, **ROBERTA, "head": "masked_lm"},
        lambda: text_models.bert("RobertaForMaskedLM", type_vocab_size=1, layer_norm_eps=1e-5),
        TOKENS,
        layout="roberta",
        slow=True,
    ),
    "roberta, classifier": Case(
        "bert",
        {**BERT, **NOTHING, **ROBERTA, "head": "classification"},
        lambda: text_models.bert("RobertaForSequenceClassification", type_vocab_size=1, layer_norm_eps=1e-5),
        TOKENS,
        layout="roberta",
        slow=True,
    ),
    "distilbert": Case(
        "bert",
        {**BERT, **NOTHING, **DISTILBERT, "head": "none"},
        text_models.distilbert,
        TOKENS,
        layout="distilbert_model",
    ),
    "distilbert, masked": Case(
        "bert",
        {**BERT, **NOTHING, **DISTILBERT, "head": "masked_lm"},
        lambda: text_models.distilbert("DistilBertForMaskedLM"),
        TOKENS,
        layout="distilbert",
        slow=True,
    ),
    "distilbert, classifier": Case(
        "bert",
        {**BERT, **NOTHING, **DISTILBERT, "head": "classification"},
        lambda: text_models.distilbert("DistilBertForSequenceClassification"),
        TOKENS,
        layout="distilbert",
        slow=True,
    ),
    "electra, discriminator": relative(
        "ElectraForPreTraining",
        "electra",
        {"embedding_width": 8, "head": "replaced_tokens"},
        PAIRS,
        "transformers",
        embedding_size=8,
    ),
    "albert, pretraining": relative(
        "AlbertForPreTraining",
        "albert",
        {
            "embedding_width": 8,
            "depth": 3,
            "groups": 2,
            "inner": 2,
            "classifier_dropout": 0.0,
            "head": "pretraining",
        },
        PAIRS,
        "transformers_pretraining",
        embedding_size=8,
        num_hidden_layers=3,
        num_hidden_groups=2,
        inner_group_num=2,
    ),
    "deberta, with a convolution": Case(
        "deberta",
        {
            **SMALL,
            **NOTHING,
            "token_types": 2,
            "embedding_width": 8,
            "buckets": 4,
            "shares_projections": False,
            "adds_positions": True,
            "conv_size": 3,
            "conv_groups": 2,
            "conv_activation": "gelu",
            "head": "masked_lm",
        },
        partial(
            text_models.wide,
            "DebertaV2ForMaskedLM",
            type_vocab_size=2,
            embedding_size=8,
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            position_buckets=4,
            norm_rel_ebd="layer_norm",
            conv_kernel_size=3,
            conv_groups=2,
            conv_act="gelu",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        PAIRS,
        layout="transformers",
    ),
    "modernbert, classifier of means": Case(
        "modernbert",
        {
            "vocab_size": 50,
            "max_length": 40,
            "width": 12,
            "depth": 4,
            "heads": 2,
            "feed_forward": 20,
            "window": 10,
            "attention_bias": True,
            "classifier_pooling": "mean",
            "head": "classification",
            "num_classes": 3,
        },
        partial(
            text_models.wide,
            "ModernBertForSequenceClassification",
            num_hidden_layers=4,
            local_attention=10,
            attention_bias=True,
            pad_token_id=0,
            classifier_pooling="mean",
            num_labels=3,
        ),
        [ids(3, 9, 48) + 2, kept(9, 4, 7, length=9)],
        layout="transformers",
    ),
    "mpnet, masked": relative(
        "MPNetForMaskedLM",
        "mpnet",
        {"epsilon": 1e-12, "head": "masked_lm"},
        TOKENS,
        "transformers",
    ),
}

DROPOUT_CASES = {
    "gpt2": Case(
        "gpt2",
        {**GPT2, "embedding_dropout": 0.2, "dropout": 0.2, "attention_dropout": 0.2},
        lambda: text_models.gpt2(rate=0.2),
        TOKENS,
        layout="transformers",
    ),
    **{
        f"{kind}, {head}": Case(
            "bert",
            {**BERT, **own, "head": head, "dropout": 0.2, "attention_dropout": 0.2},
            partial(make, name, rate=0.2, **options),
            TOKENS,
            layout=kind,
            slow=kind != "transformers",
        )
        for kind, make, own, options, names in (
            ("transformers", text_models.bert, {}, {}, ("BertForMaskedLM", "BertForSequenceClassification")),
            (
                "roberta",
                text_models.bert,
                ROBERTA,
                {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
                ("RobertaForMaskedLM", "RobertaForSequenceClassification"),
            ),
            (
                "distilbert",
                text_models.distilbert,
                DISTILBERT,
                {},
                ("DistilBertForMaskedLM", "DistilBertForSequenceClassification"),
            ),
        )
        for head, name in zip(("masked_lm", "classification"), names, strict=True)
    },
    "transformer": Case(
        "transformer",
        {**TRANSFORMER, "dropout": 0.3},
        lambda: transformer(dropout=0.3),
        TEXTS,
        layout="torch",
    ),
}

CHOICES = [ids(6, 9, 48).reshape(3, 2, 9) + 2, kept(9, 4, 7, 9, 3, 9, length=9).reshape(3, 2, 9)]
# GPT-2 finds the last token by the padding token, which is 0.
PADDED = [TOKENS[0] * TOKENS[1], TOKENS[1]]


LIKE_ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
RATES = {"embedding_dropout": 0.2, "classifier_dropout": 0.2, "summary_dropout": 0.2}
HEADS_OF = {  # beginning of a class's name -> the twin, its options, and the keywords of `create`
    "Bert": (text_models.bert, {}, BERT),
    "Roberta": (text_models.bert, LIKE_ROBERTA, {**BERT, **ROBERTA}),
    "DistilBert": (text_models.distilbert, {}, {**BERT, **DISTILBERT, "answer_dropout": 0.2}),
    "GPT2": (text_models.gpt2, {"use_cache": False}, {**GPT2, **RATES}),
}


def head(
    name: str, layout: str, inputs: Sequence[np.ndarray], config: Mapping[str, Any], **options: Any
) -> tuple[str, Case]:
    """A class of transformers; everything is dropped out at a rate, which eval mode does not show."""
    make, more, keywords = HEADS_OF[name.partition("For")[0].partition("LMHead")[0].partition("Double")[0]]
    return name, Case(
        "gpt2" if make is text_models.gpt2 else "bert",
        {**keywords, "dropout": 0.2, "attention_dropout": 0.2, **config},
        partial(make, name, rate=0.2, **more, **options),
        inputs,
        layout=layout,
        slow=name.startswith(("Roberta", "DistilBert")),  # whose heads are BERT's but for their names
    )


THREE = {"head": "token_classification", "num_classes": 3}
ANSWERS, CHOICE = {"head": "question_answering"}, {"head": "multiple_choice"}
OF_TEXTS = {"head": "classification", "num_classes": 3, "pad_token_id": 0}
HEAD_CASES = dict(
    [
        head("BertForTokenClassification", "transformers", PAIRS, THREE, num_labels=3),
        head("BertForQuestionAnswering", "transformers", PAIRS, ANSWERS),
        head("BertForMultipleChoice", "transformers", CHOICES, CHOICE),
        head("BertForNextSentencePrediction", "transformers", PAIRS, {"head": "next_sentence"}),
        head("BertForPreTraining", "transformers", PAIRS, {"head": "pretraining"}),
        head(
            "BertLMHeadModel",
            "transformers",
            TOKENS,
            {"head": "causal_lm", "causal": True},
            is_decoder=True,
            use_cache=False,
        ),
        head("RobertaForTokenClassification", "roberta_tokens", TOKENS, THREE, num_labels=3),
        head("RobertaForQuestionAnswering", "roberta", TOKENS, ANSWERS),
        head("RobertaForMultipleChoice", "roberta_tokens", CHOICES, CHOICE),
        head("DistilBertForTokenClassification", "distilbert", TOKENS, THREE, num_labels=3),
        head("DistilBertForQuestionAnswering", "distilbert", TOKENS, ANSWERS),
        head("DistilBertForMultipleChoice", "distilbert", CHOICES, CHOICE),
        head("GPT2ForSequenceClassification", "transformers", PADDED, OF_TEXTS, num_labels=3, pad_token_id=0),
        head("GPT2ForTokenClassification", "transformers", PAIRS, THREE, num_labels=3),
        head("GPT2ForQuestionAnswering", "transformers", TOKENS, ANSWERS),
        head("GPT2DoubleHeadsModel", "transformers", CHOICES, {"head": "double_heads"}),
        head(
            "GPT2LMHeadModel",
            "transformers",
            TOKENS,
            {"scale_by_layer": True, "scale_attention": False},
            scale_attn_by_inverse_layer_idx=True,
            scale_attn_weights=False,
        ),
    ]
)
