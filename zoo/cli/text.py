"""The verbs `zoo generate` and `zoo embed`."""

import csv
import io
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from converters.io import atomic_write
from zoo._errors import ZooError
from zoo.cli import texts as arguments
from zoo.cli.console import Dtype, Name


def generate(
    name: Name,
    prompt: Annotated[str, typer.Argument(help="Beginning of the text; '-' reads standard input.")],
    tokens: Annotated[int, typer.Option(min=1, help="Largest number of tokens to add.")] = 100,
    temperature: Annotated[
        float, typer.Option(min=0, help="Temperature of the draw; 0 takes the likeliest token.")
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Draw from this many of the likeliest tokens.")
    ] = 50,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens whose probabilities add up to this.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draw.")] = 0,
    dtype: Dtype = None,
) -> None:
    """Continue a text, and print it token by token."""
    from zoo._preprocessing.text import generate as run

    pieces = run(
        name,
        arguments.prompt(prompt),
        max_new_tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        dtype=dtype,
    )
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def embed(
    name: Name,
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...", help="One or more texts; '-' reads one a line from standard input."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="The file to write, .npy, .csv or .json.  [default: stdout]"
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(help="Pooling of the hidden states, such as mean.  [default: the model's own]"),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Name of the prompt before each text; '' for none.  [default: the model's own]"),
    ] = None,
    dtype: Dtype = None,
) -> None:
    """Compute a vector for each text.

    Vectors are printed as JSON, or written as NumPy, CSV or JSON.
    """
    from zoo._preprocessing.text import embed as run

    if out is not None and out.suffix not in WRITERS:
        raise ZooError(
            f"{str(out)!r} ends in none of {', '.join(WRITERS)}; choose a name such as 'vectors.npy'."
        )
    lines = arguments.lines(texts, f"embed {name}")
    vectors = run(name, lines, pooling=pooling, prompt=prompt, dtype=dtype)
    if out is None:
        print(_json(vectors).decode(), end="")
        return
    with atomic_write(out, overwrite=True) as file:
        file.write(WRITERS[out.suffix](vectors))


def _npy(vectors: np.ndarray) -> bytes:
    """Returns a NumPy file; of float32 where NumPy has no such dtype, as bfloat16."""
    file = io.BytesIO()
    np.save(file, vectors if vectors.dtype.isbuiltin == 1 else vectors.astype(np.float32))
    return file.getvalue()


def _csv(vectors: np.ndarray) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(_numbers(vectors))
    return file.getvalue().encode()


def _json(vectors: np.ndarray) -> bytes:
    return json.dumps(_numbers(vectors)).encode() + b"\n"


def _numbers(vectors: np.ndarray) -> list[list[float]]:
    return [[float(number) for number in vector] for vector in vectors]


WRITERS = {".npy": _npy, ".csv": _csv, ".json": _json}
