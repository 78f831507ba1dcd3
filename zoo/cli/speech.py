"""The verb `zoo transcribe`."""

from typing import Annotated

import typer

from zoo._inference.subject import subject
from zoo.cli import console, inputs


def transcribe(
    name: console.Name,
    speech: Annotated[
        list[str] | None,
        typer.Argument(metavar="SPEECH...", help="WAV files; '-' is each line of standard input."),
    ] = None,
    file: inputs.Lines = None,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Language of the speech, such as en.  [default: the model tells, or knows one]",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK", help="transcribe, or translate into English.  [default: the model's own]"
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            "--max-new-tokens",
            metavar="N",
            min=1,
            help="Most tokens of 30 seconds of speech.  [default: the model's longest text]",
        ),
    ] = None,
    dtype: console.Dtype = None,
    json: console.Json = False,
) -> None:
    """Write down speech of WAV files.

    Prints the text of one file, or a row for each of several. Whisper reads 30 seconds at a time; longer
    files are cut into windows one after the other, without timestamps. WAV files may have any rate and
    number of channels.
    """
    from zoo._inference.transcribe import transcribed

    arguments = inputs.check_given(speech, file, "names of WAV files")
    names = [*inputs.names(arguments, file)]
    texts = transcribed(
        subject(name, dtype=dtype), names, language=language, task=task, max_new_tokens=tokens
    )
    if json or len(texts) > 1:
        console.table(("file", "text"), zip(names, texts, strict=True), json=json)
    else:
        print(*texts)
