"""Settings of texts that are kept beside a model: the longest text, letter case and prompts.

transformers keeps them in tokenizer_config.json, sentence-transformers in sentence_bert_config.json (named
after the architecture in early versions) and config_sentence_transformers.json.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from zoo._errors import ZooError
from zoo._loading.companions import companion
from zoo._loading.located import Located
from zoo._loading.sentence_transformers import CONFIG, parsed, transformer_config

TOKENIZER_CONFIG = "tokenizer_config.json"
UNLIMITED = 1_000_000_000  # transformers writes 1e30 for a tokenizer without a limit


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """Settings of texts.

    Attributes:
        max_length: Longest text, in tokens; None for as long as the model allows.
        lower_case: If true, texts are lowercased before they are tokenized.
        prompts: What texts begin with, by name.
        default_prompt: Name of the prompt that is used where none is chosen.
    """

    max_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None

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
    beside, at_root = partial(companion, located), partial(companion, located, at_root=True)
    name = located.entry.name
    tokens = _options(name, TOKENIZER_CONFIG, beside)
    transformer = transformer_config(name, beside)
    sentences = _options(name, CONFIG, at_root)
    return TextSettings(
        max_length=_limit(transformer.get("max_seq_length")) or _limit(tokens.get("model_max_length")),
        lower_case=bool(transformer.get("do_lower_case")),
        prompts={key: text or "" for key, text in (sentences.get("prompts") or {}).items()},
        default_prompt=sentences.get("default_prompt_name"),
    )


def _options(name: str, file: str, read: Callable[[str], bytes | None]) -> Mapping[str, Any]:
    content = read(file)
    found: Mapping[str, Any] = {} if content is None else parsed(f"{name}: {file}", content, dict)
    return found


def _limit(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 < value < UNLIMITED else None
