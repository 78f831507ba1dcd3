"""Answers to questions: the spans of a text that a model finds."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo._errors import ZooError
from zoo._inference import text_batches
from zoo._inference.predict import checked
from zoo._inference.purpose import answers, purpose
from zoo._inference.scores import softmax
from zoo._inference.subject import Subject, subject
from zoo._inference.text_batches import TextReader
from zoo._inference.texts import checked_texts
from zoo._loading.resolve import Name
from zoo._model import Model

if TYPE_CHECKING:
    from tokenizers import Encoding

# As in the pipeline of transformers 4; version 5 has none.
LONGEST = 384  # most tokens of a question and a window of the context
OVERLAP = 128  # most tokens of the context that a window shares with the next
LONGEST_ANSWER = 15  # in tokens
FIELDS = ("start_logits", "end_logits")


class Answer(NamedTuple):
    """A span of the context that answers a question.

    Attributes:
        text: Its characters.
        start: Index of its first character in the context.
        end: Index behind its last.
        score: Product of the probabilities of its first and its last token in their window.
    """

    text: str
    start: int
    end: int
    score: float


def answer(
    model: Name | Model, questions: str | Iterable[str], context: str, *, batch_size: int | None = None
) -> list[Answer]:
    """Finds the best answer to each question in a text: a span of whole words, of at most 15 tokens.

    A context that does not fit beside the question, in 384 tokens or the model's longest text, is read in
    overlapping windows, and the answer is that with the highest score in any. There always is one; where the
    text has none, its score is low.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model. It finds answers.
        questions: Questions; one alone is a list of one.
        context: The text that has the answers.
        batch_size: Windows at a time; by default as many as is fast, in bounded memory.

    Raises:
        ZooError: the model finds no answers, an input is no text or has no words, or a question is too long.
    """
    return [found for _, found in answers_of(subject(model), questions, context, batch_size=batch_size)]


def answers_of(
    of: Subject, questions: Any, context: str, *, batch_size: int | None = None
) -> Iterator[tuple[str, Answer]]:
    """Yields each question with its answer, as they come.

    Args:
        of: The model.
        questions, context, batch_size: As for `answer`.
    """
    checked(batch_size=batch_size)
    check_answers(of)
    if not isinstance(context, str) or not context.strip():
        raise ZooError(f"context={context!r} is no text with words; give the text that has the answers.")
    model = of.load()
    reader = text_batches.text_reader(of, model, batch_size)
    given = checked_texts(of.entry, questions, pairs=False)
    ours, theirs = tee((question, _windows(question, context, reader)) for question in given)
    tokens = (text_batches.tokens_of(window) for _, windows in theirs for window in windows)
    outputs = text_batches.token_outputs(model, FIELDS, tokens, reader, label="answering", total=None)
    for question, windows in ours:
        found = [_best(context, window, next(outputs)) for window in windows]
        yield question, max(found, key=lambda each: each.score)


def check_answers(of: Subject) -> None:
    """Checks that a model finds answers.

    Raises:
        ZooError: it does not.
    """
    if not answers(of.entry):
        raise ZooError(f"{of.entry.name!r} does not find answers; {purpose(of.entry)}.")


def _windows(question: str, context: str, reader: TextReader) -> "Sequence[Encoding]":
    """Returns the tokens of the question with each window of the context.

    Raises:
        ZooError: the question leaves no room for the context, or one of them has no tokens.
    """
    tokenizer, longest = reader.tokenizer, min(reader.longest, LONGEST)
    tokenizer.no_truncation()
    taken = len(tokenizer.encode(question, add_special_tokens=False).ids)
    room = longest - tokenizer.num_special_tokens_to_add(is_pair=True) - taken
    overlap = min(OVERLAP, longest // 2)
    if not taken:
        raise ZooError(f"the question {question!r} has no tokens; write at least one word.")
    if room <= overlap:
        raise ZooError(
            f"a question has {taken:,} tokens, which leaves room for {max(room, 0):,} of the context among "
            f"{longest:,}; a window needs more than {overlap:,}: ask a shorter one."
        )
    tokenizer.enable_truncation(longest, stride=overlap, strategy="only_second")
    first = tokenizer.encode(question, context)
    if 1 not in first.sequence_ids:
        raise ZooError("the context has no tokens; give the text that has the answers.")
    return [first, *first.overflowing]


def _best(context: str, window: "Encoding", logits: np.ndarray) -> Answer:
    """Returns the best answer in a window of the context.

    Args:
        context: The whole context.
        window: Tokens of the question and of the window.
        logits: (length, 2) logits of the first and of the last token, and of padding behind them.
    """
    inside = np.array([each == 1 for each in window.sequence_ids])
    # A first special token stands for no answer: it has a share of the probability.
    shared = inside.copy()
    shared[0] |= bool(window.special_tokens_mask[0])
    scores = np.zeros((len(inside), 2))
    scores[shared] = softmax(logits[: len(inside)].astype(np.float64)[shared].T).T
    scores[~inside] = 0
    pairs = np.outer(scores[:, 0], scores[:, 1])
    pairs = np.tril(np.triu(pairs), LONGEST_ANSWER - 1)  # the end not before the start, nor far behind it
    first, last = np.unravel_index(pairs.argmax(), pairs.shape)
    start, end = _characters(window, int(first))[0], _characters(window, int(last))[1]
    return Answer(context[start:end], start, end, float(pairs[first, last]))


def _characters(window: "Encoding", token: int) -> tuple[int, int]:
    """Returns where the word of a token is in the context, or the token itself where none is known."""
    word = window.token_to_word(token)
    found = None if word is None else window.word_to_chars(word, 1)
    return found or window.offsets[token]
