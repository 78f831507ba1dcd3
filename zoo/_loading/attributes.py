"""Attributes of a config.json of the Hub that change nothing, by rules rather than one by one.

transformers writes some, whoever made a model others. What is text or null says something about the model; an
unknown number or boolean may be an option of the architecture, and is refused.
"""

import re
from collections.abc import Mapping
from typing import Any

# Options of transformers' `generate`, which older versions kept in config.json.
_GENERATION = r"""
    assistant_\w+ | bad_words_ids | begin_suppress_tokens | cache_implementation | constraints
    | diversity_penalty | do_sample | early_stopping | encoder_no_repeat_ngram_size
    | encoder_repetition_penalty | epsilon_cutoff | eta_cutoff | exponential_decay_length_penalty
    | force_words_ids | forced_[be]os_token_id | guidance_scale | is_assistant | length_penalty | low_memory
    | max_length | max_new_tokens | max_time | min_length | min_new_tokens | min_p | no_repeat_ngram_size
    | num_assistant_tokens | num_beam_groups | num_beams | num_return_sequences | output_scores
    | penalty_alpha | prefix | remove_invalid_values | renormalize_logits | repetition_penalty
    | return_dict_in_generate | sequence_bias | stop_strings | suppress_tokens | temperature | token_healing
    | top_k | top_p | typical_p | use_cache
"""
# How weights were initialised and stored, what transformers returns besides, and what is read elsewhere.
_OF_TRANSFORMERS = r"""
    architectures | model_type | (torch_)?dtype | initializer_(range|factor) | gradient_checkpointing
    | output_(attentions|past|hidden_states) | return_dict | torchscript | chunk_size_feed_forward
    | problem_type | directionality | pooler_(fc_size|num_attention_heads|num_fc_layers|size_per_head|type)
    | use_bfloat16 | xla_device | tf_legacy_loss | id2label | label2id | num_labels | tie_word_embeddings
    | tie_weights_
"""
# How texts were cut and read for the model, which tokenizers have to know.
_OF_TEXTS = r"""
    block_size | cased | do_(basic_tokenize|lower_case) | line_by_line | lowercase
    | max_(seq|sent|token)_len(gth)? | model_max_length | padding_side | strip_accents | trim_size
    | truncation
"""
# Words by which people name what they did: ids of tokens, names and dates, tasks, training.
_BY_PEOPLE = r"""
    _.* | (.*_)?(token|tokens|token_ids?|ids)
    | (.*_)?(names?|path|version|date|commit|revision|url|hash|seed)
    | (adapters?|datasets?|eval|finetun\w*|generation|labels?|languages?|loss)_.*
    | (adam|early_stopping|logging|mlm|nsp|optimizer|prompts?|save|task|test|tokenizer|train\w*|warmup)_.*
    | bf16 | fp16 | ignore_index | max_grad_norm | num_choices | threshold
    | (.*_)?(batch_size|epochs?|label_smoothing|learning_rate|loss|lr|steps?|weight_decay)
"""
_HARMLESS = re.compile("|".join((_GENERATION, _OF_TRANSFORMERS, _OF_TEXTS, _BY_PEOPLE)), re.VERBOSE)
# Attributes of every configuration in transformers -> the value with which it changes nothing.
DEFAULTS: Mapping[str, Any] = {
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
    "tie_encoder_decoder": False,
}
_CODE = "the repository's own code computes it, which the zoo does not run"
_STORED = (
    "its weights are stored in another way; the zoo needs those of the plain model, which zoo.quantize "
    "then makes small"
)
# Text or tables that do change the model.
_REFUSED = {
    "auto_map": _CODE,
    "custom_code": _CODE,
    "quantization_config": _STORED,
    "compression_config": _STORED,
}
# Names of text that chooses between architectures.
_CHOICES = re.compile(
    r"""
    (\w+_)?(act|activation) | (hidden|mlp|ffn)_act(ivation)?(_fn|_function)?
    | (\w+_)?(attention|attn|embeddings?|encoder|feed_forward|ffn|layer|mlp|norm|position|rope)_(style|type)
    | (\w+_)?(attention|layer_?norm|mlp|normalization)
    """,
    re.VERBOSE,
)


def is_harmless(name: str, value: Any) -> bool:
    """Returns whether an attribute that no family reads changes nothing.

    Args:
        name: Name of the attribute, or of one in a table.
        value: JSON value.
    """
    if name in DEFAULTS:
        return value is None or value == DEFAULTS[name]
    if name in _REFUSED:
        return not _changes(name, value)
    if value is None or _HARMLESS.fullmatch(name):
        return True
    if isinstance(value, str):
        return not _CHOICES.fullmatch(name)
    if isinstance(value, list):
        return all(isinstance(each, str | None) for each in value)
    return isinstance(value, dict) and all(is_harmless(str(key), each) for key, each in value.items())


def meaning(name: str) -> str:
    """Returns what is wrong with an attribute that is not harmless, for messages."""
    if name in _REFUSED:
        return _REFUSED[name]
    if name in DEFAULTS:
        return f"the zoo has {DEFAULTS[name]!r} only"
    return "nobody has said what it means for the family"


def _changes(name: str, value: Any) -> bool:
    """Returns whether an attribute that is refused says anything; a tokenizer's code is not the model's."""
    if name == "auto_map" and isinstance(value, dict):
        return any(str(key).startswith("AutoModel") for key in value)
    return bool(value)
