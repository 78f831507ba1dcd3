"""Texts to tokens; needs the `text` extra."""

import re
import string
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zoo._errors import ZooError
from zoo._hub.settings import Token
from zoo._loading.companions import companion
from zoo._loading.given import Given, check_given, files_of
from zoo._loading.located import Located
from zoo._loading.resolve import resolve
from zoo._loading.text_settings import text_settings
from zoo._model import Model
from zoo._preprocessing.tokenizer_files import tokenizer_from
from zoo._registry import families

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

SHOWN = 60  # characters of a text in an error

Text: TypeAlias = str | tuple[str, str]  # one text, or two that belong together


def tokenizer(name: Given, *, token: Token = None) -> "Tokenizer":
    """Returns the tokenizer of a model, of the library `tokenizers`; it neither pads nor truncates.

    It is read from tokenizer.json, or made of vocab.txt, of vocab.json and merges.txt, or of the
    sentencepiece.bpe.model of XLM-RoBERTa and CamemBERT.

    Args:
        name: A name, as for `load`, or a model that `load` gave.
        token: For the Hub, as for `load`.

    Raises:
        ZooError: the library is not installed, or the model has no such file.
    """
    check_given(name)
    return tokenizer_of(files_of(name) if isinstance(name, Model) else resolve(name, token=token))


def tokenizer_of(located: Located) -> "Tokenizer":
    """Returns the tokenizer of a model whose name is resolved."""
    name = located.entry.name
    if located.entry.takes_images:
        raise ZooError(f"{name!r} takes pictures, not texts: zoo.preprocess({name!r}) makes its input.")
    made = tokenizer_from(located.entry.name, partial(companion, located))
    settings = text_settings(located)
    if settings.lower_case or settings.plain:
        from tokenizers import Regex, normalizers

        more: list[normalizers.Normalizer] = []
        if settings.lower_case:
            more.append(normalizers.Lowercase())
        if settings.plain:
            marks = Regex(f"[{re.escape(string.punctuation)}]")
            spaces = normalizers.Replace(Regex(r"\s+"), " ")
            more += [normalizers.Replace(marks, ""), spaces, normalizers.Strip()]
        made.normalizer = normalizers.Sequence([*more, *([made.normalizer] if made.normalizer else [])])
    return made


def batch(
    texts: Sequence[Text], tokens: "Tokenizer", *, limit: int, left: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(batch, length) token ids of texts, cut at `limit`, and their mask; padded with 0.

    Raises:
        ZooError: a text without tokens, or one that the tokenizer has no tokens for.
    """
    found = encoded(texts, tokens, limit)
    ids = padded([each.ids for each in found], left=left)
    return ids, padded([each.attention_mask for each in found], left=left)


def padded(
    rows: Sequence[Sequence[int] | np.ndarray], *, left: bool = False, length: int | None = None
) -> np.ndarray:
    """Returns rows of numbers as one (batch, length) array, int32, filled with 0; as long as the longest."""
    length = length or max(map(len, rows))
    made = np.zeros((len(rows), length), np.int32)
    for row, each in zip(made, rows, strict=True):
        row[slice(length - len(each), None) if left else slice(len(each))] = each
    return made


def encoded(
    texts: Sequence[Text], tokens: "Tokenizer", limit: int, *, special: bool = True
) -> "list[Encoding]":
    """Returns the tokens of each text, cut at `limit`.

    Args:
        texts: The texts.
        tokens: The tokenizer.
        limit: Largest number of tokens.
        special: If true, adds the tokens that the tokenizer puts around a text.

    Raises:
        ZooError: a text without tokens, or one that the tokenizer has no tokens for.
    """
    tokens.enable_truncation(limit)
    try:
        found = tokens.encode_batch([*texts], add_special_tokens=special)
    except Exception as error:  # the library raises no narrower one
        raise ZooError(_unknown(texts, tokens) or f"the tokenizer refuses a text: {error}") from error
    if not all(each.ids for each in found):
        raise ZooError("a text without tokens; write at least one word.")
    return found


def _unknown(texts: Sequence[Text], tokens: "Tokenizer") -> str | None:
    """Returns which part of which text the tokenizer has no token for; None if it refuses none of them."""
    for text in chain.from_iterable([each] if isinstance(each, str) else each for each in texts):
        normal = tokens.normalizer.normalize_str(text) if tokens.normalizer else text
        pieces = tokens.pre_tokenizer.pre_tokenize_str(normal) if tokens.pre_tokenizer else [(normal, (0, 0))]
        for piece, (start, _) in pieces:
            try:
                tokens.model.tokenize(piece)
            except Exception:  # the library raises no narrower one
                part = f" of {normal[:SHOWN]!r}{'...' * (len(normal) > SHOWN)}"
                return f"the tokenizer has no token for {piece!r}, at character {start}{part}; leave it out."
    return None


def check_tokens(name: str, tokens: "Tokenizer", module: Any) -> None:
    """Checks that the model has a vector for each token.

    Raises:
        ZooError: it has fewer; what it made of the others would be no numbers.
    """
    last = max(tokens.get_vocab(with_added_tokens=True).values(), default=-1)
    if last >= getattr(module, "vocab_size", last + 1):
        raise ZooError(
            f"the tokenizer of {name!r} has {last + 1:,} tokens, the model {module.vocab_size:,}: they do "
            "not belong together; get the tokenizer that the model was trained with."
        )


def limit(located: Located, module: Any) -> int:
    """Returns the longest text in tokens: as many as there are positions, or fewer by a file of its.

    Raises:
        ZooError: nothing says how long a text a module of your own takes.
    """
    said, family = text_settings(located).max_length, families.named(located.entry.family)
    most = family.max_tokens(module) if family else getattr(module, "max_length", said)
    if most is None:
        raise ZooError(f"{type(module).__name__} has no field max_length, the longest text in tokens.")
    return min(most, said or most)
