"""Vectors of texts, and of pictures where a model has both in one space."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo._errors import ZooError
from zoo._inference import text_batches, vectors
from zoo._inference.predict import gathered
from zoo._inference.purpose import makes_vectors, purpose
from zoo._inference.subject import Subject, subject
from zoo._inference.texts import PICTURES, checked_texts, known_count
from zoo._loading.resolve import Name, resolve
from zoo._loading.text_settings import text_settings
from zoo._model import Model

if TYPE_CHECKING:
    from zoo._preprocessing.images import Pictures


def embed(
    model: Name | Model,
    texts: "str | Iterable[str] | Pictures",
    *,
    batch_size: int | None = None,
    pooling: str | None = None,
    prompt: str | None = None,
) -> NDArray[np.float32]:
    """Returns a vector for each text, (count, width) float32; their products measure similarity.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        texts: Texts; one alone is a list of one. Or pictures, as `predict` takes them, for a model that has
            both in one space, as CLIP: a name of a file that is a picture's is one.
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
    if makes_vectors(of.entry):
        if pooling is not None:
            raise ZooError(f"{of.entry.name!r} has a pooling of its own; leave pooling= out.")
        return
    makes = of.entry.family is None or of.entry.config.get("head") == "embedding"
    if not of.entry.takes_tokens or (pooling is None and not makes):
        raise ZooError(f"{of.entry.name!r} makes no vectors of texts; {purpose(of.entry)}.")


def embeddings(
    of: Subject,
    texts: Any,
    *,
    batch_size: int | None = None,
    pooling: str | None = None,
    prompt: str | None = None,
) -> NDArray[np.float32]:
    """Returns the same for a model as verbs have it."""
    if batch_size is not None and batch_size < 1:
        raise ZooError(f"batch_size={batch_size}; expected 1 or more.")
    check_embeds(of, pooling)
    if makes_vectors(of.entry):
        return _in_one_space(of, texts, batch_size, prompt)
    begin = text_settings(of.located).prompt(prompt)
    model = of.load(**({} if pooling is None else {"head": "embedding", "pooling": pooling}))
    reader = text_batches.text_reader(of, model, batch_size)
    given = (f"{begin}{text}" for text in checked_texts(of.entry, texts, pairs=False))
    rows = [
        *text_batches.outputs(
            model, "embeddings", given, reader, label="embedding", total=known_count(texts)
        ),
    ]
    if not rows:
        return np.zeros((0, text_batches.width(model, "embeddings", reader)), np.float32)
    return np.stack(rows)


def _in_one_space(
    of: Subject, inputs: Any, batch_size: int | None, prompt: str | None
) -> NDArray[np.float32]:
    """Returns vectors of texts, or of pictures where the first input is one."""
    from zoo._preprocessing import images

    rest = iter(images.several(inputs))
    first = next(rest, None)
    model = of.load()
    if first is None:
        return np.zeros((0, model.module.embedding_size), np.float32)
    every = chain([first], rest)
    if not of.entry.takes_tokens or (of.entry.images and _is_picture(first)):
        rows = gathered(
            lambda refused: vectors.of_pictures(
                of, lambda: model, every, batch_size=batch_size, refused=refused
            )
        )
        return np.stack(rows)
    begin = text_settings(of.located).prompt(prompt)
    texts = (f"{begin}{text}" for text in checked_texts(of.entry, every, pairs=False))
    return vectors.of_texts(of, model, texts, cut=True, batch_size=batch_size)


def _is_picture(value: Any) -> bool:
    return not isinstance(value, str) or (value.lower().endswith(PICTURES) and Path(value).is_file())
