"""The verbs `zoo generate` and `zoo embed`."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from converters.io import atomic_write
from zoo._errors import ZooError
from zoo._inference.subject import subject
from zoo._loading.resolve import resolve
from zoo.cli import console, inputs, modules

SEPARATOR = "---"  # between texts, which have lines of their own


def generate(
    name: console.Name,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help="Beginning of the text; '-' is each line of standard input, and each is continued.",
        ),
    ] = None,
    file: inputs.Lines = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            "--max-new-tokens",
            metavar="N",
            min=1,
            help="Largest number of tokens to add, as far as the model's longest text.  [default: 100]",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(metavar="T", min=0, help="Temperature of the draw; 0 takes the likeliest token.")
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Draw from this many of the likeliest tokens.")
    ] = 50,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Draw from the likeliest tokens whose probabilities add up to this, above 0.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the random draw.")] = 0,
    dtype: console.Dtype = None,
    json: console.Json = False,
) -> None:
    """Continue texts, and print them token by token.

    Several have a line of --- between them.
    """
    from zoo._inference.continue_texts import continued, streamed

    options: Any = {
        "max_new_tokens": tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    if prompt is None and file is None:
        inputs.check_given(None, None, "a prompt")
    of = subject(name, dtype=dtype)
    if file is None and prompt != inputs.STDIN and not json:
        assert prompt is not None
        for piece in streamed(of, prompt, **options):
            print(piece, end="", flush=True)
        print()
        return
    given = [] if prompt is None else [prompt]
    prompts = (
        given
        if file is None and given != [inputs.STDIN]
        else [*inputs.texts(given, file, f"generate {name}")]
    )
    found = continued(of, prompts, **options)
    if json:
        console.table(("prompt", "text"), zip(prompts, found, strict=True), json=True)
    else:
        print(*found, sep=f"\n{SEPARATOR}\n")


def embed(
    name: console.Name,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT...", help="Texts; '-' is each line of standard input. Or names of pictures."
        ),
    ] = None,
    file: inputs.Lines = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="The file to write, .npy, .csv or .json.  [default: stdout]"
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            metavar="POOLING", help="Pooling of the hidden states, such as mean.  [default: the model's own]"
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="PROMPT",
            help="Name of the prompt before each text; '' for none.  [default: the model's own]",
        ),
    ] = None,
    module: modules.Module = None,
    dtype: console.Dtype = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, as it does by default.")] = False,
) -> None:
    """Compute a vector for each text or picture.

    CLIP has both in one space. Vectors are printed as JSON, one a line, or written as NumPy, CSV or JSON.
    """
    from zoo._inference.embed import check_embeds, embeddings

    if out is not None and out.suffix not in WRITERS:
        raise ZooError(
            f"{str(out)!r} ends in none of {', '.join(WRITERS)}; choose a name such as 'vectors.npy'."
        )
    arguments = inputs.check_given(texts, file, "texts")
    of = subject(
        resolve(name, head=None if pooling is None else "embedding"),
        dtype=dtype,
        module=modules.make(module),
    )
    check_embeds(of, pooling)  # before inputs of another kind are called wrong
    given = (
        inputs.pictures(arguments, file)
        if of.entry.images and (not of.entry.takes_tokens or inputs.are_files(arguments))
        else inputs.texts(arguments, file, f"embed {name}")
    )
    vectors = embeddings(of, given, pooling=pooling, prompt=prompt)
    if out is None:
        for line in _json_lines(vectors):
            print(line)
        return
    with atomic_write(out, overwrite=True) as target:
        target.write(WRITERS[out.suffix](vectors))


def _npy(vectors: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, vectors)
    return file.getvalue()


def _csv(vectors: np.ndarray) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(map(_digits, vectors))
    return file.getvalue().encode()


def _json(vectors: np.ndarray) -> bytes:
    return "".join(f"{line}\n" for line in _json_lines(vectors)).encode()


def _json_lines(vectors: np.ndarray) -> Iterator[str]:
    last = len(vectors) - 1
    for index, vector in enumerate(vectors):
        ends = ("[" if index == 0 else "", "]" if index == last else ",")
        yield f"{ends[0]}[{', '.join(_digits(vector))}]{ends[1]}"


def _digits(vector: Iterable[np.floating]) -> Iterator[str]:
    """Yields numbers with as many digits as make them what they are, and no more."""
    return map(str, vector)


WRITERS = {".npy": _npy, ".csv": _csv, ".json": _json}
