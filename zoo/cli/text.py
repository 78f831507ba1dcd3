"""The verbs `zoo generate` and `zoo embed`."""

import json
from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of `zoo list`, a repository, a directory.")]


def generate(
    name: Name,
    prompt: Annotated[str, typer.Argument(help="What the text begins with.")],
    tokens: Annotated[int, typer.Option(min=1, help="How many more at most.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from so many of the likeliest.")] = 50,
    top_p: Annotated[float | None, typer.Option(help="Draw from those that come to this.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other tokens.")] = 0,
) -> None:
    """Continues a text, which appears as it is written."""
    from zoo._preprocessing.text import generate as run

    pieces = run(
        name, prompt, max_new_tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def embed(
    name: Name,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="One or more.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.npy", help="Where they go.  [default: stdout]")
    ] = None,
) -> None:
    """Makes a vector of each text; as JSON, a list for each, or as a NumPy file."""
    import numpy as np

    from converters.io import atomic_write
    from zoo._preprocessing.text import embed as run

    vectors = run(name, texts)
    if out is None:
        print(json.dumps([[float(number) for number in vector] for vector in vectors]))
        return
    with atomic_write(out, overwrite=True) as file:
        np.save(file, vectors)
