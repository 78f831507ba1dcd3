"""The verb `zoo predict`."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from zoo._errors import ZooError
from zoo._inference.purpose import classifies_texts, purpose
from zoo._inference.scores import PROBABILITIES, kind
from zoo._inference.subject import subject
from zoo._loading.resolve import resolve
from zoo._registry.entry import Entry
from zoo.cli import console, inputs, modules


def predict(
    name: console.Name,
    inputs_: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Pictures of any size, or folders of them; or texts. '-' is each line of standard input.",
        ),
    ] = None,
    file: inputs.Lines = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Number of classes for each input.")] = 5,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Read each input as two texts, separated by a tab.")
    ] = False,
    head: Annotated[
        str | None,
        typer.Option(metavar="HEAD", help="Head of a repository whose config.json names none, or another."),
    ] = None,
    module: modules.Module = None,
    dtype: console.Dtype = None,
    json: console.Json = False,
) -> None:
    """Classify images or texts, and print the likeliest classes.

    Where several classes can be right at once, each has a probability of its own. Of a model with one
    output, such as a regression or a cross-encoder, it is the value. A picture that cannot be read is named,
    the others are done, and the exit code is 1.

    For the MNIST classifiers a picture is one digit, dark on light or light on dark: the shade along its edge
    is the ground. Unless it is 28 x 28 pixels already, the digit is cut out, scaled and centred as MNIST's
    were.
    """
    from zoo._inference.predict import predictions

    arguments = inputs.check_given(inputs_, file, "inputs")
    located = resolve(name, head=head)
    of = subject(
        located if head is None else located.with_head(head), dtype=dtype, module=modules.make(module)
    )
    bad: list[str] = []

    def refused(picture: Any, error: Exception) -> None:
        bad.append(str(picture))
        typer.echo(f"zoo: {error}", err=True)

    given: Iterable[Any]
    if of.entry.takes_tokens:
        if not classifies_texts(of.entry):
            raise ZooError(f"{name!r} does not classify texts; {purpose(of.entry)}.")
        lines = inputs.texts(arguments, file, f"predict {name}")
        given = map(_pair, lines) if pairs else lines
    elif pairs:
        raise ZooError(f"{name!r} takes pictures; --pairs is for texts.")
    else:
        given = inputs.pictures(arguments, file)
    found = predictions(of, given, top=top, refused=refused)
    console.table(("input", "class", _measure(of.entry)), rows(found), json=json)
    if bad:
        raise typer.Exit(1)


def rows(found: Iterable[tuple[Any, list[tuple[str, float]]]]) -> Iterator[tuple[str, str, float]]:
    """Yields a row for each class of each input."""
    for given, best in found:
        shown = "\t".join(given) if isinstance(given, tuple) else given
        yield from ((shown, label, score) for label, score in best)


def _measure(entry: Entry) -> str:
    """Returns the noun for the scores of a model."""
    classes = len(entry.class_names) or entry.config.get("num_classes", 2)
    return "probability" if kind(entry, classes) in PROBABILITIES else "value"


def _pair(line: str) -> tuple[str, str]:
    first, *rest = line.split("\t")
    if len(rest) != 1:
        raise ZooError(f"{line!r} is no pair; expected two texts with one tab between them.")
    return first, rest[0]
