"""Texts to tokens and back, by the tokenizer.json beside a model's weights; needs the `text` extra."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zoo._errors import ZooError
from zoo._hub.settings import Token
from zoo._inference import generate as generation
from zoo._inference.sampling import choices
from zoo._loading.companions import TOKENIZER, companion
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.resolve import Name, resolve
from zoo._loading.sentence_transformers import parsed
from zoo._registry import families

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACE = 4  # tokens between two pieces of a text: asking for each one costs more


def tokenizer(name: Name, *, token: Token = None) -> "Tokenizer":
    """Returns the tokenizer of a model, of the library `tokenizers`; it neither pads nor truncates.

    Raises:
        ZooError: the library is not installed, or the model has no tokenizer.json.
    """
    return tokenizer_of(resolve(name, token=token))


def tokenizer_of(located: Located) -> "Tokenizer":
    """Returns the tokenizer of a model whose name is resolved."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ZooError("texts need the library tokenizers: pip install 'flax-zoo[text]'.") from error
    name, content = located.entry.name, companion(located, TOKENIZER)
    if content is None:
        raise ZooError(f"{name!r} has no {TOKENIZER} beside its weights; give it token ids.")
    try:
        made = Tokenizer.from_str(content.decode())
    except Exception as error:  # the library raises no narrower one
        raise ZooError(f"the {TOKENIZER} of {name!r} cannot be read: {error}") from error
    made.no_padding()
    made.no_truncation()
    return made


def batch(
    texts: Sequence[str], tokens: "Tokenizer", *, limit: int, left: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(batch, length) token ids of texts, cut at `limit`, and their mask; padded with 0.

    Raises:
        ZooError: a text without tokens, or one that the tokenizer has no tokens for.
    """
    tokens.enable_truncation(limit)
    try:
        ids = [each.ids for each in tokens.encode_batch([*texts])]
    except Exception as error:  # the library raises no narrower one
        raise ZooError(f"the tokenizer has no tokens for all of this text: {error}") from error
    length = max(map(len, ids))
    if not all(ids):
        raise ZooError("a text without tokens; write at least one word.")
    made, mask = np.zeros((len(ids), length), np.int32), np.zeros((len(ids), length), np.int32)
    for row, each in enumerate(ids):
        place = slice(length - len(each), None) if left else slice(len(each))
        made[row, place], mask[row, place] = each, 1
    return made, mask


def outputs(located: Located, texts: Sequence[str]) -> Any:
    """Returns the outputs of a pretrained model for texts.

    Raises:
        ZooError: it has no tokenizer.
    """
    tokens = tokenizer_of(located)
    model = load_located(located, pretrained=True)
    ids, mask = batch(texts, tokens, limit=limit(located, model.module))
    return jax.jit(lambda model, ids, mask: model(ids, mask))(model, ids, mask)


def limit(located: Located, module: Any) -> int:
    """Returns the longest text in tokens: the positions that there are, or fewer by sentence-transformers."""
    most = families.family(located.entry).max_tokens(module)
    file = "sentence_bert_config.json"
    content = companion(located, file) if module.head == "embedding" else None
    options = parsed(f"{located.entry.name}: {file}", content, dict) if content else {}
    return min(most, options.get("max_seq_length") or most)


def embed(name: Name, texts: Sequence[str]) -> np.ndarray:
    """Returns a vector for each text, (texts, width); the products of vectors measure similarity.

    Raises:
        ZooError: the model makes no embeddings, or has no tokenizer.
    """
    located = resolve(name)
    if located.entry.config.get("head") != "embedding":
        raise ZooError(f"{name!r} makes no embeddings; try all-minilm-l6-v2.")
    return np.asarray(outputs(located, texts).embeddings)


def generate(
    name: Name,
    prompt: str,
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
) -> Iterator[str]:
    """The prompt, then what follows, in pieces as they come.

    Raises:
        ZooError: the model continues no texts, or has no tokenizer.
    """
    located = resolve(name)
    tokens, entry = tokenizer_of(located), located.entry
    family = families.named(entry.family)
    if family is None or family.generate is None or entry.config.get("head", "lm") != "lm":
        raise ZooError(f"{name!r} continues no texts; try gpt2.")
    model = load_located(located, pretrained=True)
    ids, mask = batch([prompt or family.end_token or ""], tokens, limit=model.module.max_length)
    sampling, draw = choices(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        eos_token_id=tokens.token_to_id(family.end_token) if family.end_token else None,
        seed=seed,
    )
    most = min(max_new_tokens, model.module.max_length - ids.shape[1])
    shown = ""
    for texts in generation.steps(model, ids, mask, sampling, draw, max_new_tokens=most, pace=PACE):
        text = tokens.decode(texts[0].tolist())
        if not text.endswith("\ufffd"):  # a character whose bytes are not all there yet
            yield text[len(shown) :]
            shown = text
