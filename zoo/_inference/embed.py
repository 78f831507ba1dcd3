"""Vectors of texts."""

from collections.abc import Iterable, Sized

import numpy as np
from numpy.typing import NDArray

from zoo._errors import ZooError
from zoo._inference import text_batches
from zoo._inference.purpose import purpose
from zoo._inference.subject import Subject, subject
from zoo._inference.texts import checked_texts
from zoo._loading.resolve import Name, resolve
from zoo._loading.text_settings import text_settings
from zoo._model import Model


def embed(
    model: Name | Model,
    texts: str | Iterable[str],
    *,
    batch_size: int | None = None,
    pooling: str | None = None,
    prompt: str | None = None,
) -> NDArray[np.float32]:
    """Returns a vector for each text, (count, width) float32; their products measure similarity.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        texts: Texts; one alone is a list of one.
        batch_size: Texts at a time; by default as many as is fast, in bounded memory.
        pooling: Reduction of an encoder's states to a vector, such as "mean", where no file of its says how.
        prompt: Name of the prompt that texts begin with; by default the model's, and '' is none.

    Raises:
        ZooError: the model makes no vectors of texts, or it has no tokenizer or no such prompt.
    """
    given = model if pooling is None or isinstance(model, Model) else resolve(model, head="embedding")
    return embeddings(subject(given), texts, batch_size=batch_size, pooling=pooling, prompt=prompt)


def check_embeds(of: Subject, pooling: str | None = None) -> None:
    """Checks that a model makes vectors of texts, by itself or with a pooling.

    Raises:
        ZooError: it does not.
    """
    makes = of.entry.family is None or of.entry.config.get("head") == "embedding"
    if not of.entry.takes_tokens or (pooling is None and not makes):
        raise ZooError(f"{of.entry.name!r} makes no vectors of texts; {purpose(of.entry)}.")


def embeddings(
    of: Subject,
    texts: str | Iterable[str],
    *,
    batch_size: int | None = None,
    pooling: str | None = None,
    prompt: str | None = None,
) -> NDArray[np.float32]:
    """Returns the same for a model as verbs have it."""
    if batch_size is not None and batch_size < 1:
        raise ZooError(f"batch_size={batch_size}; expected 1 or more.")
    check_embeds(of, pooling)
    begin = text_settings(of.located).prompt(prompt)
    model = of.load(**({} if pooling is None else {"head": "embedding", "pooling": pooling}))
    reader = text_batches.text_reader(of, model, batch_size)
    total = len(texts) if isinstance(texts, Sized) and not isinstance(texts, str) else None
    given = (f"{begin}{text}" for text in checked_texts(of.entry, texts, pairs=False))
    rows = [
        *text_batches.outputs(model, "embeddings", given, reader, label="embedding", total=total),
    ]
    if not rows:
        return np.zeros((0, text_batches.width(model, "embeddings", reader)), np.float32)
    return np.stack(rows)
