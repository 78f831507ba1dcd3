"""Options of generation that a model's files name: those of generation_config.json, or of an old config.json.

Each is an option of `zoo.generate`, changes nothing, or is refused by name once it would change a text.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from zoo._errors import ZooError
from zoo._loading import attributes

GENERATION = "generation_config.json"
# Attributes that `zoo.generate` has as keywords -> transformers' default, with which they change nothing.
_SAME: Mapping[str, Any] = {
    "max_new_tokens": None,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_new_tokens": 0,
    "min_length": 0,
    "num_return_sequences": 1,
    "num_beams": 1,
    "length_penalty": 1.0,
    "early_stopping": False,
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
    "bad_words_ids": [],
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "forced_decoder_ids": [],
}
_OTHERS: Mapping[str, Any] = {"do_sample": False, "stop_strings": [], "max_length": 20}
# Attributes that the zoo lacks, by what they are for -> the value with which they change nothing.
_LACKED: Mapping[str, Mapping[str, Any]] = {
    "": {
        "constraints": None,
        "dola_layers": None,
        "encoder_no_repeat_ngram_size": 0,
        "encoder_repetition_penalty": 1.0,
        "exponential_decay_length_penalty": None,
        "force_words_ids": None,
        "guidance_scale": 1.0,
        "max_time": None,
        "penalty_alpha": 0.0,
        "sequence_bias": [],
        "token_healing": False,
        "watermarking_config": None,
    },
    "draws": {"epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "top_h": None, "typical_p": 1.0},
    "beams": {"diversity_penalty": 0.0, "num_beam_groups": 1, "renormalize_logits": False},
}
# Attributes of speech models, which are about their tasks and times rather than texts.
_OF_SPEECH = frozenset(
    {
        "alignment_heads",
        "is_multilingual",
        "lang_to_id",
        "max_initial_timestamp_index",
        "median_filter_width",
        "return_timestamps",
        "task_to_id",
    }
)
_KNOWN = {**_SAME, **_OTHERS, **_LACKED[""], **_LACKED["draws"], **_LACKED["beams"]}


def said(config: Mapping[str, Any], *, own_file: bool) -> dict[str, Any]:
    """Returns the attributes that may change a text.

    Args:
        config: The attributes of generation_config.json, or of a config.json from before there was one.
        own_file: If true, it is the former, and attributes that nobody knows are kept, too.
    """
    return {
        name: value
        for name, value in config.items()
        if name not in _OF_SPEECH
        and (
            _changes(name, value) if name in _KNOWN else own_file and not attributes.is_harmless(name, value)
        )
    }


def _changes(name: str, value: Any) -> bool:
    return value is not None and value != _KNOWN[name]


def options(said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is said as options of `zoo.generate`, those of draws without a temperature included."""
    found = {name: said[name] for name in _SAME if name in said and name != "temperature"}
    if said.get("do_sample"):
        # transformers draws from the 50 likeliest where nobody says another number.
        found = {"temperature": said.get("temperature", 1.0), "top_k": _SAME["top_k"], **found}
    renamed = {"stop_strings": "stop", "max_length": "max_length"}
    return found | {renamed[name]: value for name, value in said.items() if name in renamed}


def check(name: str, said: Mapping[str, Any], *, drawn: bool, beams: bool) -> None:
    """Checks that the zoo has all that would change a text.

    Args:
        name: The model's name.
        said: What its files say.
        drawn: True if tokens are drawn.
        beams: True if there are several beams.

    Raises:
        ZooError: it lacks some.
    """
    lacked = [*_lacked(said, drawn=drawn, beams=beams)]
    if lacked:
        raise ZooError(
            f"the {GENERATION} of {name!r} says {', '.join(lacked)}, which zoo.generate lacks; pass the "
            "options that you want, with generation_config={} instead of the file's."
        )


def _lacked(said: Mapping[str, Any], *, drawn: bool, beams: bool) -> Iterator[str]:
    matters = {**_LACKED[""], **(_LACKED["draws"] if drawn else {}), **(_LACKED["beams"] if beams else {})}
    for name, value in said.items():
        if name in matters or name not in _KNOWN:
            yield f"{name}={value!r}"
