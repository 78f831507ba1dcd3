"""Any number of texts through a model: sorted by length, in batches of bounded size and few shapes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from inspect import signature
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zoo import _progress
from zoo._errors import ZooError
from zoo._inference.ahead import ahead
from zoo._inference.subject import Subject
from zoo._model import Model
from zoo._preprocessing.text import Text, check_tokens, encoded, limit, padded, tokenizer_of

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

WINDOW = 4096  # texts that are read, and sorted, at a time
AT_ONCE = 512  # texts that the tokenizer is given at a time
TOKENS = {"cpu": 4096}  # most tokens of a batch, padding included, by JAX's backend
MORE_TOKENS = 65536  # on all others, which are faster the more there is to do at once
# A few texts have the same outputs together as alone, to the last bit, since no batch has fewer rows.
FEWEST = 4
COLUMNS = 16  # lengths of batches are 16, 32, 48, 64, 96, 128, 192 and so on: two for each doubling


class Tokens(NamedTuple):
    """Tokens of one text, and the text of a pair that each belongs to."""

    ids: np.ndarray
    types: np.ndarray


def tokens_of(encoding: "Encoding") -> Tokens:
    """Returns the tokens that the tokenizer has made of a text."""
    return Tokens(np.array(encoding.ids, np.int32), np.array(encoding.type_ids, np.int32))


class TextReader(NamedTuple):
    """Reader of texts as tokens for a model.

    Attributes:
        tokenizer: The model's tokenizer.
        longest: Longest text, in tokens; others are cut.
        has_types: If true, the model takes the text of a pair that a token belongs to.
        batch_size: Most texts in a batch; by default the length of texts decides.
    """

    tokenizer: "Tokenizer"
    longest: int
    has_types: bool
    batch_size: int | None = None

    def read(self, texts: Sequence[Text]) -> list[Tokens]:
        """Returns the tokens of each text."""
        return [tokens_of(each) for each in encoded(texts, self.tokenizer, self.longest)]

    def inputs(self, texts: Sequence[Tokens], rows: int, columns: int) -> dict[str, np.ndarray]:
        """Returns the keywords of the model's call, with rows and columns filled up."""
        filled = [*texts, *[texts[0]] * (rows - len(texts))]
        mask = [np.ones(len(each.ids), np.int32) for each in filled]
        types = {"token_type_ids": padded([each.types for each in filled], length=columns)}
        return {
            "input_ids": padded([each.ids for each in filled], length=columns),
            "attention_mask": padded(mask, length=columns),
            **(types if self.has_types else {}),
        }


def text_reader(of: Subject, model: Model, batch_size: int | None = None) -> TextReader:
    """Returns how texts become tokens for a model.

    Raises:
        ZooError: nobody knows its tokenizer, or that has other tokens than the model; or the model is a
            module of your own that takes no mask of padding.
    """
    module = model.module
    if of.entry.family is None and "attention_mask" not in signature(type(module).__call__).parameters:
        raise ZooError(
            f"{type(module).__name__} takes no attention_mask=, and texts are padded to one length; give it "
            "one, or call the model with the tokens that zoo.tokenizer makes."
        )
    tokens = tokenizer_of(of.located)
    check_tokens(of.entry.name, tokens, module)
    return TextReader(
        tokenizer=tokens,
        longest=limit(of.located, module),
        has_types=getattr(module, "token_types", 0) > 1,
        batch_size=batch_size,
    )


def outputs(
    model: Model, field: str, texts: Iterable[Text], reader: TextReader, *, label: str, total: int | None
) -> Iterator[np.ndarray]:
    """Yields a field of the model's output for each text in turn, float32.

    Args:
        model: A model of texts.
        field: Name of the field, such as "logits".
        texts: Texts, or pairs of them; read a few thousand at a time.
        reader: The tokenizer that makes tokens of them.
        label: Text before the progress bar.
        total: Number of texts, if it is known; a few are done too soon for a bar.
    """
    tokens = _read(texts, reader)
    yield from token_outputs(model, (field,), tokens, reader, axes=2, label=label, total=total)


def token_outputs(
    model: Model,
    fields: tuple[str, ...],
    texts: Iterable[Tokens],
    reader: TextReader,
    *,
    axes: int = 3,
    label: str,
    total: int | None,
) -> Iterator[np.ndarray]:
    """Yields fields of the model's output for the tokens of each text in turn, float32.

    Args:
        model: A model of texts.
        fields: Names of the fields; several have one value for each token, and are stacked on a last axis.
        texts: Tokens of texts; read a few thousand texts at a time.
        reader: Says how they become the model's input.
        axes: Number of axes of what is given: 3, (batch, length, size), where each token has values, padding
            too; 2, (batch, size), where each text has them.
        label, total: As for `outputs`.
    """
    rest, done = iter(texts), 0
    few = total is not None and total <= FEWEST
    computed = partial(_computed, model, fields, axes)
    with nullcontext() if few else _progress.steps_bar(label, total, transient=True) as show:
        while window := [*islice(rest, WINDOW)]:
            found: dict[int, np.ndarray] = {}
            for places, values in ahead(computed, _batches(window, reader)):
                found.update(zip(places, values, strict=False))
                if show:
                    show(done + len(found), "")
            done += len(window)
            yield from (found[place] for place in range(len(window)))


def width(model: Model, field: str, reader: TextReader) -> int:
    """Returns the size of a field of the model's output for one text."""
    example = Tokens(np.zeros(1, np.int32), np.zeros(1, np.int32))
    inputs = reader.inputs([example], FEWEST, min(COLUMNS, reader.longest))
    return int(jax.eval_shape(partial(_fields, fields=(field,), axes=2), model, inputs).shape[-1])


def _read(texts: Iterable[Text], reader: TextReader) -> Iterator[Tokens]:
    rest = iter(texts)
    while some := [*islice(rest, AT_ONCE)]:
        yield from reader.read(some)


def _batches(
    tokens: Sequence[Tokens], reader: TextReader
) -> Iterator[tuple[Sequence[int], dict[str, np.ndarray]]]:
    """Yields the places of texts in the window, the longest first, and the model's inputs for them."""
    order = sorted(range(len(tokens)), key=lambda place: -len(tokens[place].ids))
    start = 0
    while start < len(order):
        columns = min(_columns(len(tokens[order[start]].ids)), reader.longest)
        most = reader.batch_size or max(FEWEST, _at_most(_most_tokens() // columns))
        places = order[start : start + most]
        # One batch alone has as few rows as will do; several share the shapes of full ones.
        rows = most if start or len(order) > most else min(most, _at_least(len(places)))
        yield places, reader.inputs([tokens[place] for place in places], rows, columns)
        start += most


def _columns(length: int) -> int:
    """Returns the length of the batches that a text of that many tokens is in."""
    size = COLUMNS
    while size < length:
        size *= 2
    step = max(COLUMNS, size // 4)
    return -(-length // step) * step


def _at_most(count: int) -> int:
    """Returns the largest power of two that is not larger."""
    return 1 << (max(count, 1).bit_length() - 1)


def _at_least(count: int) -> int:
    """Returns FEWEST, doubled until it is as large."""
    rows = FEWEST
    while rows < count:
        rows *= 2
    return rows


def _most_tokens() -> int:
    return TOKENS.get(jax.default_backend(), MORE_TOKENS)


def _computed(model: Model, fields: tuple[str, ...], axes: int, inputs: dict[str, np.ndarray]) -> jax.Array:
    made: jax.Array = _fields(model, inputs, fields=fields, axes=axes)
    return made


@partial(jax.jit, static_argnames=("fields", "axes"))
def _fields(model: Model, inputs: dict[str, jax.Array], *, fields: tuple[str, ...], axes: int) -> Any:
    found = model(**inputs)
    values = [getattr(found, field, found) for field in fields]
    if len(values) > 1:
        values = [jnp.stack(values, -1)]
    value: Any = values[0]
    if value is None or getattr(value, "ndim", None) != axes:
        shape = "(batch, size)" if axes == 2 else "(batch, length, size)"
        raise ZooError(f"{model} gives no {' and '.join(fields)} of shape {shape}.")
    return value.astype(jnp.float32)
