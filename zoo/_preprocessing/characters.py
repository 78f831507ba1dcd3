"""Characters of models trained by connectionist temporal classification, from vocab.json.

Graves et al., "Connectionist temporal classification" (2006), section 3.2; as transformers' tokenizer of
wav2vec 2.0 decodes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from zoo._errors import ZooError
from zoo._loading.sentence_transformers import parsed
from zoo._loading.text_settings import SPECIAL_TOKENS, TOKENIZER_CONFIG

VOCABULARY = "vocab.json"
# Spaces before these are left out where tokenizer_config.json asks for it.
CLEANED = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)


@dataclass(frozen=True, kw_only=True)
class Characters:
    """A vocabulary, and what becomes of some of its tokens.

    Attributes:
        tokens: Id -> token.
        blank: Token that stands for none, and parts a doubled one.
        unknown: Token of ids that have none.
        delimiter: Token between words.
        space: Text that it becomes.
        lower_case: If true, texts are in lower case.
        cleans: If true, spaces before punctuation are left out.
    """

    tokens: Mapping[int, str]
    blank: str = "<pad>"
    unknown: str = "<unk>"
    delimiter: str = "|"
    space: str = " "
    lower_case: bool = False
    cleans: bool = False

    def text(self, ids: Sequence[int]) -> str:
        """Returns the text of the likeliest token of each frame: equal neighbors are one."""
        several = (token for token, _ in groupby(self.tokens.get(each, self.unknown) for each in ids))
        kept = (self.space if token == self.delimiter else token for token in several if token != self.blank)
        text = "".join(kept).strip()
        text = text.lower() if self.lower_case else text
        for old, new in CLEANED if self.cleans else ():
            text = text.replace(old, new)
        return text


def characters(name: str, read: Callable[[str], bytes | None]) -> Characters:
    """Reads the characters of a model.

    Args:
        name: Its name, for messages.
        read: Gives the files beside its weights.

    Raises:
        ManifestError: a file is none of JSON.
        ZooError: there is no vocab.json, or it has several languages.
    """
    content = read(VOCABULARY)
    if content is None:
        raise ZooError(f"{name!r} has no {VOCABULARY} beside its weights, which has its characters.")
    found = parsed(f"{name}: {VOCABULARY}", content, dict)
    if not all(isinstance(each, int) for each in found.values()):
        raise ZooError(
            f"the {VOCABULARY} of {name!r} has vocabularies of {', '.join(found)}; expected those of one."
        )
    files = [read(file) for file in (TOKENIZER_CONFIG, *SPECIAL_TOKENS)]
    config, special, added = (
        {} if each is None else parsed(f"{name}: {file}", each, dict)
        for file, each in zip((TOKENIZER_CONFIG, *SPECIAL_TOKENS), files, strict=True)
    )

    def said(option: str, default: Any) -> Any:
        value = config.get(option, special.get(option))
        value = value["content"] if isinstance(value, Mapping) else value
        return default if value is None else value

    more = {
        int(index): str(each["content"]) for index, each in config.get("added_tokens_decoder", {}).items()
    }
    return Characters(
        tokens={**more, **{index: token for token, index in {**added, **found}.items()}},
        blank=said("pad_token", "<pad>"),
        unknown=said("unk_token", "<unk>"),
        delimiter=said("word_delimiter_token", "|"),
        space=said("replace_word_delimiter_char", " "),
        lower_case=bool(said("do_lower_case", None)),
        cleans=bool(said("clean_up_tokenization_spaces", None)),
    )
