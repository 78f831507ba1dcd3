"""Names of tensors and options in the Hub's files of BART and its relatives."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from zoo._nn.seq2seq_attributes import KEYWORDS
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

TORCH_NAMES = {
    "transformers": ((r"^(shared|encoder|decoder)\.", r"model.\1."),),
    "transformers_model": (),  # the classes without a head
}
IGNORED = {r"(.*\.)?(encoder|decoder)\.version": "a number that fairseq counts its formats by"}
_SHARED = "shared.weight"
TIED = {
    "encoder.embed_tokens.weight": _SHARED,
    "decoder.embed_tokens.weight": _SHARED,
    "lm_head.weight": (_SHARED, "decoder.embed_tokens.weight"),
}
UNTIED = {"lm_head.weight": {"tied": False}}

_INPUTS = (Input("input_ids", (1, 16), "int32"),)
_KEYWORDS = {**KEYWORDS, "max_position_embeddings": "max_length", "scale_embedding": "scale_embedding"}
_MARIAN = {
    "decoder_vocab_size": "decoder_vocab_size",
    "share_encoder_decoder_embeddings": "shared",
    "tie_word_embeddings": "tied",
}
_IRRELEVANT = (
    "init_std",
    "encoder_layerdrop",  # of training alone: no layer is left out
    "decoder_layerdrop",
    "add_bias_logits",  # what transformers before version 4.0 wrote, and none reads
    "extra_pos_embeddings",
    "force_bos_token_to_be_generated",
    "classif_dropout",
    "do_blenderbot_90_layernorm",
)


def _read(forced_eos: int | None, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns attributes with the token that transformers ends a longest text with, if none is said."""
    return {"forced_eos_token_id": forced_eos, **config}


def _fields(
    prefix: str,
    variant: str,
    ends: int,
    heads: Mapping[str, Mapping[str, Any]],
    fixed: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> ConfigFields:
    tokens = {"eos_token_id": ends, "pad_token_id": 0, "decoder_start_token_id": 1}
    classifies = f"{prefix}ForSequenceClassification" in heads
    own = {"classifier_dropout": "classifier_dropout"} if classifies else {}
    tied = {} if variant == "marian" else {"tie_word_embeddings": True}
    return ConfigFields(
        keywords={**_KEYWORDS, **own, **(_MARIAN if variant == "marian" else {})},
        heads={f"{prefix}Model": {"head": "none"}, **heads},
        fixed={"is_encoder_decoder": True, **tied, **fixed},
        irrelevant=_IRRELEVANT if classifies else (*_IRRELEVANT, "classifier_dropout"),
        defaults={"variant": variant, **tokens, **defaults},
        inputs=_INPUTS,
        classifies=classifies,
        layouts={f"{prefix}Model": "transformers_model", "": "transformers"},
        read=partial(_read, ends),
    )


def _generates(name: str) -> dict[str, dict[str, Any]]:
    return {name: {"head": "lm"}}


def _answers(prefix: str) -> dict[str, dict[str, Any]]:
    return {
        **_generates(f"{prefix}ForConditionalGeneration"),
        f"{prefix}ForSequenceClassification": {"head": "classification"},
        f"{prefix}ForQuestionAnswering": {"head": "question_answering"},
    }


def _built(*, first: bool, normed: bool, sinusoids: bool, learned: str = "") -> dict[str, Any]:
    """Returns what files from before transformers 4.0 say of an architecture, which is the only one now."""
    return {
        "normalize_before": first,
        "add_final_layer_norm": first,
        "normalize_embedding": normed,
        "static_position_embeddings": sinusoids,
        **({"layernorm_variant": learned} if learned else {}),
    }


_DOZEN = {
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_heads": 16,
    "decoder_heads": 16,
    "width": 1024,
    "encoder_feed_forward": 4096,
    "decoder_feed_forward": 4096,
}
CONFIG_FIELDS = {
    "bart": _fields(
        "Bart",
        "bart",
        2,
        _answers("Bart"),
        _built(first=False, normed=True, sinusoids=False),
        {**_DOZEN, "pad_token_id": 1, "decoder_start_token_id": 2},
    ),
    "mbart": _fields(
        "MBart",
        "mbart",
        2,
        _answers("MBart"),
        _built(first=True, normed=True, sinusoids=False),
        {**_DOZEN, "pad_token_id": 1, "decoder_start_token_id": None},
    ),
    "marian": _fields(
        "Marian",
        "marian",
        0,
        _generates("MarianMTModel"),
        _built(first=False, normed=False, sinusoids=True),
        {**_DOZEN, "vocab_size": 58101, "pad_token_id": 58100, "decoder_start_token_id": 58100},
    ),
    "pegasus": _fields(
        "Pegasus",
        "pegasus",
        1,
        _generates("PegasusForConditionalGeneration"),
        _built(first=True, normed=False, sinusoids=True),
        {**_DOZEN, "decoder_start_token_id": 0},
    ),
    "blenderbot": _fields(
        "Blenderbot",
        "blenderbot",
        2,
        _generates("BlenderbotForConditionalGeneration"),
        _built(first=True, normed=False, sinusoids=False, learned="prelayernorm"),
        {
            "vocab_size": 8008,
            "max_length": 128,
            "width": 2560,
            "encoder_layers": 2,
            "decoder_layers": 24,
            "encoder_heads": 32,
            "decoder_heads": 32,
            "encoder_feed_forward": 10240,
            "decoder_feed_forward": 10240,
        },
    ),
    "blenderbot-small": _fields(
        "BlenderbotSmall",
        "blenderbot-small",
        2,
        _generates("BlenderbotSmallForConditionalGeneration"),
        _built(first=False, normed=True, sinusoids=False, learned="xlm"),
        {
            "max_length": 512,
            "width": 512,
            "encoder_layers": 8,
            "decoder_layers": 8,
            "encoder_heads": 16,
            "decoder_heads": 16,
            "encoder_feed_forward": 2048,
            "decoder_feed_forward": 2048,
        },
    ),
}
