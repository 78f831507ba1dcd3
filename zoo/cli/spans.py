"""The verbs `zoo entities` and `zoo answer`, which find spans of texts."""

from pathlib import Path
from typing import Annotated

import typer

from zoo._errors import ZooError
from zoo._inference.subject import subject
from zoo.cli import console, inputs


def entities(
    name: console.Name,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT...", help="Texts; '-' is each line of standard input."),
    ] = None,
    file: inputs.Lines = None,
    dtype: console.Dtype = None,
    json: console.Json = False,
) -> None:
    """Find named entities in texts, or other spans with labels.

    A row has the text, where the span starts and ends in its characters, the span, its label and the mean
    probability of its tokens' labels. The model is one that classifies tokens.
    """
    from zoo._inference.entities import check_labels_spans, entities_of

    arguments = inputs.check_given(texts, file, "texts")
    of = subject(name, dtype=dtype)
    check_labels_spans(of)  # before its inputs are called wrong
    found = entities_of(of, inputs.texts(arguments, file, f"entities {name}"))
    rows = (
        (text, each.start, each.end, each.text, each.label, each.score)
        for text, spans in found
        for each in spans
    )
    console.table(("input", "start", "end", "span", "label", "probability"), rows, json=json)


def answer(
    name: console.Name,
    questions: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION...", help="Questions; '-' is each line of standard input."),
    ] = None,
    context: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of text that has the answers.")
    ] = None,
    file: inputs.Lines = None,
    dtype: console.Dtype = None,
    json: console.Json = False,
) -> None:
    """Find the answers to questions in a text.

    A row has the question, where its best answer starts and ends in the text's characters, the answer, and
    the probability of its start times that of its end. Long texts are read in overlapping windows.
    """
    from zoo._inference.answer import answers_of, check_answers

    arguments = inputs.check_given(questions, file, "questions")
    if context is None:
        raise typer.BadParameter("give --context, the file of text that has the answers")
    of = subject(name, dtype=dtype)
    check_answers(of)  # before its inputs are called wrong
    try:
        # As it is: offsets count the characters of the file.
        text = context.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ZooError(f"{context} is no text in UTF-8: {error.reason}.") from error
    found = answers_of(of, inputs.texts(arguments, file, f"answer {name}"), text)
    rows = ((question, each.start, each.end, each.text, each.score) for question, each in found)
    console.table(("question", "start", "end", "answer", "probability"), rows, json=json)
