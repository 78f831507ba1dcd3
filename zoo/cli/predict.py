"""The verb `zoo predict`."""

from typing import Annotated

import numpy as np
import typer

from zoo._errors import ZooError
from zoo._inference.scores import PROBABILITIES, kind, scores
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.resolve import resolve
from zoo.cli import console, texts
from zoo.cli.console import Dtype, Name


def predict(
    name: Name,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Picture files of any size; or texts, where '-' is each line of stdin."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Number of classes for each input.")] = 5,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Read each input as two texts, separated by a tab.")
    ] = False,
    head: Annotated[
        str | None,
        typer.Option(metavar="HEAD", help="Head of a repository whose config.json names none, or another."),
    ] = None,
    dtype: Dtype = None,
) -> None:
    """Classify images or texts, and print the likeliest classes.

    Where several classes can be right at once, each has a probability of its own. Of a model with one
    output, such as a regression or a cross-encoder, it is the value.

    For the MNIST classifiers a picture is one digit, dark on light or light on dark: the shade along its edge
    is the ground. Unless it is 28 x 28 pixels already, the digit is cut out, scaled and centred as MNIST's
    were.
    """
    located = resolve(name, head=head)
    if head is not None:
        located = located.with_head(head)
    entry = located.entry
    if entry.takes_tokens:
        inputs, logits = _of_texts(located, inputs, pairs=pairs, dtype=dtype)
    elif pairs:
        raise ZooError(f"{name!r} takes pictures; --pairs is for texts.")
    else:
        logits = _of_pictures(located, inputs, dtype)
    found = scores(entry, logits)
    best = np.argsort(-found, axis=1)[:, :top]
    names = entry.class_names or [str(index) for index in range(found.shape[1])]
    rows = [
        (each, names[index], float(found[i, index])) for i, each in enumerate(inputs) for index in best[i]
    ]
    measure = "probability" if kind(entry, found.shape[1]) in PROBABILITIES else "value"
    console.table(("input", "class", measure), rows)


def _of_texts(
    located: Located, inputs: list[str], *, pairs: bool, dtype: str | None
) -> tuple[list[str], np.ndarray]:
    """Returns the texts and their logits.

    Raises:
        ZooError: the model does not classify texts, or a pair is none.
    """
    from zoo._preprocessing.text import outputs, purpose

    name = located.entry.name
    if located.entry.config.get("head") != "classification":
        raise ZooError(f"{name!r} does not classify texts; {purpose(located)}.")
    lines = texts.lines(inputs, f"predict {name}")
    odd = [line for line in lines if pairs and line.count("\t") != 1]
    if odd:
        raise ZooError(f"{odd[0]!r} is no pair; expected two texts with one tab between them.")
    given = [
        (first, second) if pairs else line for line in lines for first, _, second in [line.partition("\t")]
    ]
    return lines, np.asarray(outputs(located, given, dtype=dtype).logits, np.float32)


def _of_pictures(located: Located, files: list[str], dtype: str | None) -> np.ndarray:
    """Returns the logits of pictures."""
    from zoo._preprocessing import images
    from zoo._preprocessing.preprocess import preprocess_located

    model = load_located(located, pretrained=True, dtype=dtype)
    return np.asarray(images.logits(model, preprocess_located(located)(files)))
