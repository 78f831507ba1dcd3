"""Models of text of transformers: outputs as tensors, and tied heads without a matrix of their own.

With "sdpa" attention: the softmax of the other is in float32 whatever the inputs are in.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.reference.published import declare_operators
from tests.reference.rotary_models import float64_only

OUTPUTS = (  # in the order of zoo's TextOutput
    "logits",
    "start_logits",
    "end_logits",
    "prediction_logits",
    "seq_relationship_logits",
    "sop_logits",
    "mc_logits",
    "last_hidden_state",
    "pooler_output",
)
GPT2 = {"vocab_size": 50, "n_positions": 40, "n_embd": 24, "n_layer": 2, "n_head": 3}
GPT2_DROPOUT = ("embd_pdrop", "resid_pdrop", "attn_pdrop", "summary_first_dropout", "classifier_dropout")
BERT = {
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
BERT_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
SMALL = {
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
}
DISTILBERT = {
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "dim": 24,
    "n_layers": 2,
    "n_heads": 3,
    "hidden_dim": 40,
}
DISTILBERT_DROPOUT = ("dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout")


class Tied(nn.Module):
    """A linear layer whose matrix is another's, and whose bias is another's or its own."""

    def __init__(self, weight: nn.Module, bias: nn.Module | None = None, biases: int = 0) -> None:
        super().__init__()
        self.owners = (weight, bias)  # in a tuple, so that they are no submodules
        self.bias = nn.Parameter(torch.zeros(biases)) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.owners
        return F.linear(x, weight.weight, self.bias if bias is None else bias.bias)


def model_of(name: str, config: dict[str, Any], run: Callable[..., Any]) -> Any:
    """A model by its class's name, with "sdpa" attention.

    Args:
        name: A class of transformers.
        config: Arguments of its configuration.
        run: (the class's forward, tensors) -> its outputs as tensors.
    """
    declare_operators()
    import transformers

    parent = getattr(transformers, name)

    class Outputs(parent):
        def forward(self, *inputs: Tensor) -> Any:
            return run(super().forward, *inputs)

    made = parent.config_class(**{"bos_token_id": None, "eos_token_id": None, **config})
    made._attn_implementation = "sdpa" if parent._supports_sdpa else "eager"
    return Outputs(made)


def model(name: str, sizes: dict[str, Any], rates: tuple[str, ...], rate: float = 0.0, **options: Any) -> Any:
    """A model of texts in which everything is dropped out at one rate."""

    def run(parent: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
        out = parent(**dict(zip(names, inputs, strict=False)))
        return tuple(out[key] for key in OUTPUTS if key in out)

    return model_of(name, sizes | dict.fromkeys(rates, rate) | options, run)


def gpt2(name: str = "GPT2LMHeadModel", **options: Any) -> nn.Module:
    made = model(name, GPT2, GPT2_DROPOUT, **options)
    if name in ("GPT2LMHeadModel", "GPT2DoubleHeadsModel"):
        made.lm_head = Tied(made.transformer.wte)
    return made


def bert(name: str = "BertModel", **options: Any) -> nn.Module:
    made = model(name, BERT, BERT_DROPOUT, **options)
    if name in ("BertForMaskedLM", "BertLMHeadModel", "BertForPreTraining"):
        made.cls.predictions.decoder = Tied(made.bert.embeddings.word_embeddings, made.cls.predictions)
    if name == "RobertaForMaskedLM":
        made.lm_head.decoder = Tied(made.roberta.embeddings.word_embeddings, made.lm_head)
    return made


def distilbert(name: str = "DistilBertModel", **options: Any) -> nn.Module:
    made = model(name, DISTILBERT, DISTILBERT_DROPOUT, **options)
    if name == "DistilBertForMaskedLM":
        made.vocab_projector = Tied(made.distilbert.embeddings.word_embeddings, biases=BERT["vocab_size"])
    return made


def relative(name: str, **options: Any) -> nn.Module:
    """A model with BERT's options, in which all rates are 0 where they are not given."""
    made = model(name, {**SMALL, **options}, RATES)
    if name == "AlbertForPreTraining":
        made.predictions.decoder = Tied(made.albert.embeddings.word_embeddings, made.predictions)
    if name == "MPNetForMaskedLM":
        made.lm_head.decoder = Tied(made.mpnet.embeddings.word_embeddings, made.lm_head)
    return made


def wide(name: str, **options: Any) -> nn.Module:
    """A model with BERT's options whose angles and scales are in float64, too, where all else is."""

    def run(parent: Any, *inputs: Tensor) -> Tensor:
        with float64_only() if parent.__self__.dtype == torch.float64 else nullcontext():
            names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
            logits: Tensor = parent(**dict(zip(names, inputs, strict=False))).logits
            return logits

    with float64_only():
        made = model_of(name, {**SMALL, **options}, run)
    if name == "DebertaV2ForMaskedLM":
        head = made.cls.predictions
        head.decoder = Tied(made.deberta.embeddings.word_embeddings, head)
    return made
