"""Vectors of texts and of pictures in the space of a model of both, as CLIP."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zoo._errors import ZooError
from zoo._inference import picture_batches
from zoo._inference.subject import Subject
from zoo._loading.text_settings import text_settings
from zoo._model import Model
from zoo._nn.towers import LEGACY_END
from zoo._preprocessing.preprocess import preprocessor_of
from zoo._preprocessing.text import check_tokens, encoded, limit, padded, tokenizer_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_SIZE = 64  # texts at a time
UNCUT = 1_000_000  # tokens


def of_texts(
    of: Subject, model: Model, texts: Iterable[str], *, cut: bool, batch_size: int | None = None
) -> np.ndarray:
    """Returns unit vectors of texts: (count, size), float32.

    Args:
        of: Model as it was asked for: a name, say, for messages.
        model: The same, loaded.
        texts: The texts; one at least.
        cut: If true, longer texts than the model takes are cut; else they are refused.
        batch_size: Texts at a time.

    Raises:
        ZooError: a text is too long, or the tokenizer does not belong to the model.
    """
    tokens = tokenizer_of(of.located)
    check_tokens(of.entry.name, tokens, model.module)
    rest, found = iter(texts), []
    size = batch_size or BATCH_SIZE
    while chunk := [*islice(rest, size)]:
        rows = min(size, 1 << (len(chunk) - 1).bit_length())
        ids = _ids(of, model, tokens, chunk, cut=cut)
        filled = _inputs(of, model, tokens, [*ids, *ids[:1] * (rows - len(ids))])
        found.append(np.asarray(_text_vectors(model, filled))[: len(chunk)])
    return np.concatenate(found)


def of_pictures(
    of: Subject, load: Callable[[], Model], pictures: Any, *, batch_size: int | None, refused: Any
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yields each picture that can be read with its (size,) vector, of length 1, float32.

    Args:
        of: Model as it was asked for: a name, say, for messages.
        load: Returns it.
        pictures: Pictures, as `zoo.predict` takes them.
        batch_size: Pictures at a time.
        refused: Called with each picture that cannot be read, and why.
    """
    from zoo._preprocessing import images

    yield from picture_batches.logits(
        load,
        images.several(pictures),
        preprocessor_of(of.entry, of.files),
        batch_size=batch_size,
        refused=refused,
        function=_image_vectors,
    )


def _ids(of: Subject, model: Model, tokens: "Tokenizer", texts: Sequence[str], *, cut: bool) -> list[Any]:
    """Returns the tokens of each text, checked."""
    longest = limit(of.located, model.module)
    found = [each.ids for each in encoded(texts, tokens, longest if cut else UNCUT)]
    end = model.module.text.end
    for text, ids in zip(texts, found, strict=True):
        if len(ids) > longest:
            raise ZooError(
                f"{text!r} has {len(ids)} tokens; {of.entry.name!r} takes at most {longest}: shorten it."
            )
        if end not in (None, LEGACY_END, *ids):
            raise ZooError(
                f"{of.entry.name!r} reads a text at its token {end}, and its tokenizer ends texts with "
                f"{ids[-1]}: they do not belong together; or eos_token_id={ids[-1]} is missing in its config."
            )
    return found


def _inputs(
    of: Subject, model: Model, tokens: "Tokenizer", ids: Sequence[Sequence[int]]
) -> dict[str, np.ndarray]:
    """Returns the keywords of the text encoder: with a mask, or padded as in training where it knows none."""
    if model.module.text.end is not None:
        mask = padded([np.ones(len(each), np.int32) for each in ids])
        return {"input_ids": padded(ids), "attention_mask": mask}
    said = text_settings(of.located).pad
    pad = None if said is None else tokens.token_to_id(said)
    if pad is None:
        raise ZooError(
            f"no file of {of.entry.name!r} says which token it pads texts with, and it reads them at the "
            "last place; `pad_token` of its tokenizer_config.json does."
        )
    filled = np.full((len(ids), model.module.max_length), pad, np.int32)
    for row, each in zip(filled, ids, strict=True):
        row[: len(each)] = each
    return {"input_ids": filled}


@jax.jit
def _text_vectors(model: Model, inputs: dict[str, jax.Array]) -> jax.Array:
    both = hasattr(model.module, "get_text_features")
    return _unit(model(**inputs, method="get_text_features") if both else model(**inputs).text_embeds)


def _image_vectors(model: Model, images: jax.Array) -> jax.Array:
    both = hasattr(model.module, "get_image_features")
    return _unit(model(images, method="get_image_features") if both else model(images).image_embeds)


def _unit(vectors: jax.Array) -> jax.Array:
    vectors = vectors.astype(jnp.float32)
    made: jax.Array = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return made
