"""Texts to tokens and back, and what models make of them; needs the `text` extra."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._hub.settings import Token
from zoo._inference import generate as generation
from zoo._inference.sampling import choices
from zoo._loading.companions import companion
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.resolve import Name, resolve
from zoo._loading.text_settings import text_settings
from zoo._model import Model
from zoo._preprocessing.tokenizer_files import tokenizer_from
from zoo._registry import families

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

PACE = 4  # tokens between two pieces of a text: asking for each one costs more
# Batches have few shapes, since each is compiled: 4, 8, 16 or 32 rows, a multiple of 16 columns. A few texts
# then have the same outputs together as alone, to the last bit.
FEWEST, MOST, COLUMNS = 4, 32, 16

Text: TypeAlias = str | tuple[str, str]  # one text, or two that belong together


def tokenizer(name: Name, *, token: Token = None) -> "Tokenizer":
    """Returns the tokenizer of a model, of the library `tokenizers`; it neither pads nor truncates.

    It is read from tokenizer.json, or made of vocab.txt, of vocab.json and merges.txt, or of the
    sentencepiece.bpe.model of XLM-RoBERTa and CamemBERT.

    Raises:
        ZooError: the library is not installed, or the model has no such file.
    """
    return tokenizer_of(resolve(name, token=token))


def tokenizer_of(located: Located) -> "Tokenizer":
    """Returns the tokenizer of a model whose name is resolved."""
    made = tokenizer_from(located.entry.name, partial(companion, located))
    if text_settings(located).lower_case:
        from tokenizers import normalizers

        own = [made.normalizer] if made.normalizer else []
        made.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return made


def batch(
    texts: Sequence[Text], tokens: "Tokenizer", *, limit: int, left: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(batch, length) token ids of texts, cut at `limit`, and their mask; padded with 0.

    Raises:
        ZooError: a text without tokens, or one that the tokenizer has no tokens for.
    """
    encoded = _encoded(texts, tokens, limit)
    ids = padded([each.ids for each in encoded], left=left)
    return ids, padded([each.attention_mask for each in encoded], left=left)


def padded(rows: Sequence[Sequence[int]], *, left: bool = False, length: int | None = None) -> np.ndarray:
    """Returns rows of numbers as one (batch, length) array, int32, filled with 0; as long as the longest."""
    length = length or max(map(len, rows))
    made = np.zeros((len(rows), length), np.int32)
    for row, each in zip(made, rows, strict=True):
        row[slice(length - len(each), None) if left else slice(len(each))] = each
    return made


def _encoded(texts: Sequence[Text], tokens: "Tokenizer", limit: int) -> "list[Encoding]":
    tokens.enable_truncation(limit)
    try:
        encoded = tokens.encode_batch([*texts])
    except Exception as error:  # the library raises no narrower one
        raise ZooError(f"the tokenizer has no tokens for all of this text: {error}") from error
    if not all(each.ids for each in encoded):
        raise ZooError("a text without tokens; write at least one word.")
    return encoded


def check_tokens(name: str, tokens: "Tokenizer", module: Any) -> None:
    """Checks that the model has a vector for each token.

    Raises:
        ZooError: it has fewer; what it made of the others would be no numbers.
    """
    last = max(tokens.get_vocab(with_added_tokens=True).values(), default=-1)
    if last >= module.vocab_size:
        raise ZooError(
            f"the tokenizer of {name!r} has {last + 1:,} tokens, the model {module.vocab_size:,}: they do "
            "not belong together; get the tokenizer that the model was trained with."
        )


def outputs(located: Located, texts: Sequence[Text], **options: Any) -> Any:
    """Returns the outputs of a pretrained model for texts; options as for `load_located`.

    Raises:
        ZooError: it has no tokenizer, or one with other tokens.
    """
    tokens = tokenizer_of(located)
    model = load_located(located, pretrained=True, **options)
    check_tokens(located.entry.name, tokens, model.module)
    longest = limit(located, model.module)
    parts = []
    for start in range(0, len(texts), MOST):
        encoded = _encoded(texts[start : start + MOST], tokens, longest)
        computed = jax.device_get(_outputs(model, _inputs(model, encoded, longest)))
        parts.append(computed)
    return jax.tree.map(lambda *each: np.concatenate(each)[: len(texts)], *parts)


@jax.jit
def _outputs(model: Model, inputs: dict[str, jax.Array]) -> Any:
    return model(**inputs)


def _inputs(model: Model, encoded: "list[Encoding]", longest: int) -> dict[str, np.ndarray]:
    """Returns the keywords of the model's call: ids, mask, and the tokens' types if it has several."""
    rows = {"input_ids": "ids", "attention_mask": "attention_mask"}
    if getattr(model.module, "token_types", 0) > 1:
        rows["token_type_ids"] = "type_ids"
    count = FEWEST
    while count < len(encoded):
        count *= 2
    filled = encoded + encoded[:1] * (count - len(encoded))
    length = max(len(each.ids) for each in filled)
    columns = min(-(-length // COLUMNS) * COLUMNS, longest)
    return {
        keyword: padded([getattr(each, name) for each in filled], length=columns)
        for keyword, name in rows.items()
    }


def limit(located: Located, module: Any) -> int:
    """Returns the longest text in tokens: as many as there are positions, or fewer by a file of its."""
    most = families.family(located.entry).max_tokens(module)
    return min(most, text_settings(located).max_length or most)


def embed(
    name: Name,
    texts: Sequence[str],
    *,
    pooling: str | None = None,
    prompt: str | None = None,
    dtype: DTypeLike | None = None,
) -> np.ndarray:
    """Returns a vector for each text, (texts, width); the products of vectors measure similarity.

    Args:
        name: As for `zoo.load`.
        texts: The texts.
        pooling: Reduction of an encoder's states to a vector, where no file of its says how.
        prompt: Name of the prompt that texts begin with; by default the model's, and '' is none.
        dtype: Compute dtype.

    Raises:
        ZooError: the model makes no embeddings, or has no tokenizer or no such prompt.
    """
    located = resolve(name, head=None if pooling is None else "embedding")
    config = {} if pooling is None else {"head": "embedding", "pooling": pooling}
    if pooling is None and located.entry.config.get("head") != "embedding":
        raise ZooError(f"{name!r} makes no embeddings; {purpose(located)}.")
    begin = text_settings(located).prompt(prompt)
    made = outputs(located, [begin + text for text in texts], dtype=dtype, config=config)
    return np.asarray(made.embeddings)


# Head of a model of texts -> what one does with it.
PURPOSES = {
    "none": "it gives states of tokens; {embed}, and `zoo finetune` makes a classifier of it",
    "pooler": "it gives states of tokens; {embed}, and `zoo finetune` makes a classifier of it",
    "masked_lm": "it fills masks, and zoo.load gives its logits of tokens; {embed}",
    "pretraining": "it fills masks, and zoo.load gives its logits of tokens; {embed}",
    "causal_lm": "zoo.load gives its logits of the next token",
    "next_sentence": "zoo.load gives its logits: whether the second text of a pair follows the first",
    "token_classification": "it classifies tokens, and zoo.load gives their logits",
    "question_answering": "it finds answers, and zoo.load gives the logits of their starts and ends",
    "multiple_choice": "it chooses one of several texts, and zoo.load gives its logits",
    "embedding": "it makes vectors: `zoo embed {name} TEXT`",
    "classification": "it classifies texts: `zoo predict {name} TEXT`",
    "lm": "it continues texts: `zoo generate {name} PROMPT`",
}
EMBED = "`zoo embed --pooling mean {name} TEXT` makes a vector of its states"


def purpose(located: Located) -> str:
    """Returns the verb that a model of texts is for, with the name filled in."""
    entry = located.entry
    family = families.named(entry.family)
    head = entry.config.get("head", "lm" if family and family.generate else "none")
    text = PURPOSES.get(head, "zoo.load gives its outputs")
    return text.replace("{embed}", EMBED).replace("{name}", entry.name)


def _prompt(prompt: str, tokens: "Tokenizer", begin: int | None, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids and mask of a prompt that leaves room for more; an empty one is the first token."""
    if not prompt:
        if begin is None:
            raise ZooError("the model has no token to begin a text with; give it a prompt.")
        return np.array([[begin]], np.int32), np.ones((1, 1), np.int32)
    ids, mask = batch([prompt], tokens, limit=len(prompt.encode()) + most)
    if ids.shape[1] >= most:
        raise ZooError(
            f"the prompt has {ids.shape[1]:,} tokens; the model takes texts of {most:,}, with what follows: "
            "give a shorter one, such as its end."
        )
    return ids, mask


def generate(
    name: Name,
    prompt: str,
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    dtype: DTypeLike | None = None,
) -> Iterator[str]:
    """Yields the prompt, then what follows, in pieces as they come.

    Raises:
        ZooError: the model continues no texts, or has no tokenizer or one with other tokens.
    """
    located = resolve(name)
    entry, family = located.entry, families.named(located.entry.family)
    if family is None or family.generate is None or entry.config.get("head", "lm") != "lm":
        raise ZooError(
            f"{name!r} continues no texts; {purpose(located) if entry.takes_tokens else 'try gpt2'}."
        )
    tokens = tokenizer_of(located)
    model = load_located(located, pretrained=True, dtype=dtype)
    check_tokens(entry.name, tokens, model.module)
    end = tokens.token_to_id(family.end_token) if family.end_token else None
    said = text_settings(located).begin
    begin = end if said is None else said
    ids, mask = _prompt(prompt, tokens, begin, model.module.max_length)
    sampling, draw = choices(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        eos_token_id=getattr(model.module, "eos_token_id", ()) or end,
        seed=seed,
    )
    most = min(max_new_tokens, model.module.max_length - ids.shape[1])
    shown = ""
    for texts in generation.steps(model, ids, mask, sampling, draw, max_new_tokens=most, pace=PACE):
        text = tokens.decode(texts[0].tolist())
        if not text.endswith("\ufffd"):  # a character whose bytes are not all there yet
            yield text[len(shown) :]
            shown = text
    yield text[len(shown) :]
