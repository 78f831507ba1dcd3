"""The verb `zoo embed`."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from converters.io import atomic_write
from zoo._errors import ZooError
from zoo._inference.subject import subject
from zoo._loading.resolve import resolve
from zoo.cli import console, inputs, modules


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
