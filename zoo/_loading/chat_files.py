"""Chat templates beside a model, and the special tokens that they write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo._errors import ManifestError
from zoo._loading.companions import companion
from zoo._loading.located import Located
from zoo._loading.sentence_transformers import parsed
from zoo._loading.text_settings import CHAT_TEMPLATE, SPECIAL_TOKENS, TOKENIZER_CONFIG

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True, kw_only=True)
class ChatFiles:
    """Statements of a model's files about chats.

    Attributes:
        templates: Templates of jinja2 by name; the usual one is "default".
        special_tokens: Special tokens by the names that templates have for them, such as bos_token.
    """

    templates: Mapping[str, str] = field(default_factory=dict)
    special_tokens: Mapping[str, str] = field(default_factory=dict)


def chat_files(located: Located) -> ChatFiles:
    """Reads the chat templates of a model.

    Raises:
        ManifestError: a file is not what it should be.
        WeightsError: the repository cannot be reached.
    """
    name, alone = located.entry.name, companion(located, CHAT_TEMPLATE)
    config, special = (
        parsed(f"{name}: {file}", content, dict) if content is not None else {}
        for file in (TOKENIZER_CONFIG, SPECIAL_TOKENS[0])
        for content in (companion(located, file),)
    )
    templates = _templates(name, config.get("chat_template"))
    if alone is not None:
        try:
            templates = {"default": alone.decode()}
        except UnicodeDecodeError as error:
            raise ManifestError(f"{name}: {CHAT_TEMPLATE} is no text in UTF-8: {error.reason}.") from error
    said = {f"{role}_token": config.get(f"{role}_token") or special.get(f"{role}_token") for role in ROLES}
    texts = {key: token.get("content") if isinstance(token, dict) else token for key, token in said.items()}
    return ChatFiles(
        templates=templates,
        special_tokens={key: text for key, text in texts.items() if isinstance(text, str)},
    )


def _templates(name: str, said: Any) -> dict[str, str]:
    """Returns the templates of tokenizer_config.json: one, or several with names."""
    if said is None:
        return {}
    found = [{"name": "default", "template": said}] if isinstance(said, str) else said
    fields = ("name", "template")
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and all(isinstance(each.get(field), str) for field in fields) for each in found
    ):
        raise ManifestError(
            f"{name}: {TOKENIZER_CONFIG}: chat_template is no text, and no list of such with a name each."
        )
    return {each["name"]: each["template"] for each in found}
