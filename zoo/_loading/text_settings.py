"""Files of texts beside a model: those of its tokenizer, and its settings of texts.

The settings are the longest text, letter case and prompts. transformers keeps them in tokenizer_config.json,
sentence-transformers in sentence_bert_config.json (named after the architecture in early versions) and
config_sentence_transformers.json.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from zoo._errors import ZooError
from zoo._loading.companions import TOKENIZER, companion
from zoo._loading.generation_config import GENERATION
from zoo._loading.located import Located
from zoo._loading.sentence_transformers import (
    CONFIG,
    EARLY_CONFIGS,
    MODULES,
    TRANSFORMER_CONFIG,
    parsed,
)
from zoo._registry import families

TOKENIZER_CONFIG = "tokenizer_config.json"
# What makes a tokenizer where there is no tokenizer.json.
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model")
SPECIAL_TOKENS = ("special_tokens_map.json", "added_tokens.json")
CHAT_TEMPLATE = "chat_template.jinja"
HEARING = ("preprocessor_config.json", "processor_config.json")  # how speech becomes input
UNLIMITED = 1_000_000_000  # transformers writes 1e30 for a tokenizer without a limit


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """Settings of texts.

    Attributes:
        max_length: Longest text, in tokens; None for as long as the model allows.
        lower_case: If true, texts are lowercased before they are tokenized.
        prompts: Beginnings of texts, by name.
        default_prompt: Name of the prompt that is used where none is chosen.
        begin: Id of the token that a text begins with; None where no file says it.
        pad: Token that texts are padded with; None where no file says it.
        plain: If true, texts lose their punctuation and repeated spaces, as those of SigLIP.
    """

    max_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    begin: int | None = None
    pad: str | None = None
    plain: bool = False

    def prompt(self, name: str | None) -> str:
        """Returns the prompt of that name, or the default one for None; '' is none.

        Raises:
            ZooError: there is no such prompt.
        """
        chosen = self.default_prompt if name is None else name
        if not chosen:
            return ""
        if chosen not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise ZooError(f"no prompt {chosen!r}; the model has {known}.")
        return self.prompts[chosen]


def text_settings(located: Located) -> TextSettings:
    """Reads the settings of a model.

    Raises:
        ManifestError: a file is not what it should be.
        WeightsError: the repository cannot be reached.
    """
    name, files = located.entry.name, _settings(located)
    tokens, transformer, sentences, generation = (
        _options(name, file, files[file])
        for file in (TOKENIZER_CONFIG, TRANSFORMER_CONFIG, CONFIG, GENERATION)
    )
    kind, pad = str(tokens.get("tokenizer_class")), tokens.get("pad_token")
    return TextSettings(
        max_length=_limit(transformer.get("max_seq_length")) or _limit(tokens.get("model_max_length")),
        lower_case=bool(transformer.get("do_lower_case"))
        or kind.startswith("Siglip2Tokenizer")
        or (kind.startswith("SiglipTokenizer") and tokens.get("do_lower_case") is not False),
        prompts={key: text or "" for key, text in (sentences.get("prompts") or {}).items()},
        default_prompt=sentences.get("default_prompt_name"),
        begin=generation.get("bos_token_id"),
        pad=pad.get("content") if isinstance(pad, dict) else pad,
        plain=kind.startswith("SiglipTokenizer"),
    )


def text_files(located: Located) -> dict[str, bytes]:
    """Reads all files of texts that a copy of a model needs beside its weights, by name.

    Raises:
        WeightsError: the repository cannot be reached.
    """
    beside = partial(companion, located)
    family = families.named(located.entry.family)
    names = (TOKENIZER,) if beside(TOKENIZER) is not None else (*VOCABULARIES, *SPECIAL_TOKENS)
    chats = (CHAT_TEMPLATE,) if family and family.generate else ()
    files = _settings(located) | {file: beside(file) for file in (*names, *chats)}
    kept = {file: content for file, content in files.items() if content is not None}
    if VOCABULARIES[-1] in kept:
        # The config.json that says whose tokens these are does not come along.
        options = _options(located.entry.name, TOKENIZER_CONFIG, kept.get(TOKENIZER_CONFIG))
        named = {"tokenizer_class": tokenizer_class(located.entry.name, options, beside)}
        kept[TOKENIZER_CONFIG] = json.dumps({**options, **named}).encode()
    return kept


def tokenizer_class(name: str, options: Mapping[str, Any], read: Callable[[str], bytes | None]) -> str:
    """Returns transformers' class of a tokenizer, or the model_type; empty where neither is said."""
    said = options.get("tokenizer_class") or _options(name, "config.json", read("config.json")).get(
        "model_type"
    )
    return str(said or "")


def _settings(located: Located) -> dict[str, bytes | None]:
    """Returns the contents of the files with settings; that of the transformer's step by its usual name."""
    beside, at_root = partial(companion, located), partial(companion, located, at_root=True)
    early = (
        EARLY_CONFIGS.get(str(located.entry.config.get("variant")), ())
        if at_root(MODULES) is not None
        else ()
    )
    return {
        TOKENIZER_CONFIG: beside(TOKENIZER_CONFIG),
        TRANSFORMER_CONFIG: next(
            (content for content in map(beside, (TRANSFORMER_CONFIG, *early)) if content is not None), None
        ),
        CONFIG: at_root(CONFIG),
        GENERATION: _generation(located, beside),
        **{file: beside(file) for file in HEARING if located.entry.takes_speech},
    }


def _generation(located: Located, read: Callable[[str], bytes | None]) -> bytes | None:
    """Returns generation_config.json; where there is none, what transformers makes of config.json."""
    family = families.named(located.entry.family)
    if family is None or (family.generate is None and family.transcribe is None):
        return None
    content = read(GENERATION)
    if content is not None:
        return content
    config = _options(located.entry.name, "config.json", read("config.json"))
    begin = config.get("bos_token_id")
    return None if begin is None else json.dumps({"bos_token_id": begin}).encode()


def _options(name: str, file: str, content: bytes | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = {} if content is None else parsed(f"{name}: {file}", content, dict)
    return found


def _limit(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 < value < UNLIMITED else None
