"""Named entities: spans of texts with labels, by models that classify tokens."""

from collections.abc import Iterable, Iterator
from itertools import islice, tee
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo._errors import ZooError
from zoo._inference import text_batches
from zoo._inference.predict import checked
from zoo._inference.purpose import labels_spans, purpose
from zoo._inference.scores import softmax
from zoo._inference.subject import Subject, subject
from zoo._inference.text_batches import TextReader
from zoo._inference.texts import checked_texts, known_count
from zoo._loading.resolve import Name
from zoo._model import Model
from zoo._preprocessing.text import encoded

if TYPE_CHECKING:
    from tokenizers import Encoding

OUTSIDE = "O"  # label of tokens in no span
BEGINS, GOES_ON = "B-", "I-"


class Entity(NamedTuple):
    """A span of a text with a label.

    Attributes:
        text: Its characters.
        start: Index of its first character in the text.
        end: Index behind its last.
        label: Its label, without B-, I- or what else is before a first hyphen.
        score: Mean of the probabilities of its tokens' labels.
    """

    text: str
    start: int
    end: int
    label: str
    score: float


def entities(
    model: Name | Model, texts: str | Iterable[str], *, batch_size: int | None = None
) -> list[list[Entity]]:
    """Finds named entities, or other spans with labels: for each text a list of them, in the text's order.

    Each token has its likeliest label. Neighbours with one label are a span, and so are those whose labels
    differ by B- and I- alone; B- begins a new one. Tokens labelled O are in none. These are the groups of
    transformers' pipeline with aggregation_strategy="simple".

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model. It classifies tokens.
        texts: Texts; one alone is a list of one. What is longer than the model's longest text is cut off.
        batch_size: Texts at a time; by default as many as is fast, in bounded memory.

    Raises:
        ZooError: the model does not classify tokens, has another number of labels than of logits, or an
            input is no text.
    """
    return [found for _, found in entities_of(subject(model), texts, batch_size=batch_size)]


def entities_of(
    of: Subject, texts: Any, *, batch_size: int | None = None
) -> Iterator[tuple[str, list[Entity]]]:
    """Yields each text with its spans, as they come.

    Args:
        of: The model.
        texts, batch_size: As for `entities`.
    """
    checked(batch_size=batch_size)
    check_labels_spans(of)
    model = of.load()
    reader = text_batches.text_reader(of, model, batch_size)
    ours, theirs = tee(_encoded(checked_texts(of.entry, texts, pairs=False), reader))
    tokens = (text_batches.tokens_of(encoding) for _, encoding in theirs)
    outputs = text_batches.token_outputs(
        model, ("logits",), tokens, reader, label="labelling", total=known_count(texts)
    )
    for (text, encoding), logits in zip(ours, outputs, strict=True):
        labels = of.entry.class_names or [str(index) for index in range(logits.shape[-1])]
        if len(labels) != logits.shape[-1]:
            raise ZooError(
                f"{of.entry.name!r} has {len(labels)} labels and gives {logits.shape[-1]} logits for each "
                "token; save it with a label for each, zoo.save(..., labels=...)."
            )
        yield text, _spans(text, encoding, logits, labels)


def check_labels_spans(of: Subject) -> None:
    """Checks that a model classifies tokens.

    Raises:
        ZooError: it does not.
    """
    if not labels_spans(of.entry):
        raise ZooError(f"{of.entry.name!r} does not label spans of texts; {purpose(of.entry)}.")


def _encoded(texts: Iterator[str], reader: TextReader) -> "Iterator[tuple[str, Encoding]]":
    while some := [*islice(texts, text_batches.AT_ONCE)]:
        yield from zip(some, encoded(some, reader.tokenizer, reader.longest), strict=True)


def _spans(text: str, encoding: "Encoding", logits: np.ndarray, labels: Any) -> list[Entity]:
    """Returns the spans of a text.

    Args:
        text: The text.
        encoding: Its tokens.
        logits: (length, classes) logits of the tokens, and of padding behind them.
        labels: Name of each class.
    """
    scores = softmax(logits[: len(encoding.ids)].astype(np.float64))
    groups: list[tuple[str, list[int]]] = []
    before = None  # what the label of the token before is of
    for index in np.flatnonzero(np.array(encoding.special_tokens_mask) == 0):
        label = labels[scores[index].argmax()]
        kind = label[2:] if label.startswith((BEGINS, GOES_ON)) else label
        if label.startswith(BEGINS) or kind != before:
            groups.append((label, []))
        groups[-1][1].append(int(index))
        before = kind
    return [
        _entity(text, encoding, scores, label.split("-", 1)[-1], group)
        for label, group in groups
        if label != OUTSIDE
    ]


def _entity(text: str, encoding: "Encoding", scores: np.ndarray, label: str, group: list[int]) -> Entity:
    start, end = encoding.offsets[group[0]][0], encoding.offsets[group[-1]][1]
    return Entity(text[start:end], start, end, label, float(scores[group].max(-1).mean()))
