"""The verb `zoo classify`."""

from typing import Annotated, Any

import typer

from zoo._inference.subject import subject
from zoo.cli import console, inputs
from zoo.cli.predict import rows


def classify(
    name: console.Name,
    pictures: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="Pictures, or folders of them; '-' is each line of stdin."),
    ] = None,
    labels: Annotated[
        str, typer.Option(metavar="LABELS", help="Labels, with commas between them: 'a cat,a dog'.")
    ] = "",
    template: Annotated[
        str, typer.Option(metavar="TEXT", help="Text in which each label takes the place of {}.")
    ] = "This is a photo of {}.",
    file: inputs.Lines = None,
    top: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of labels for each picture.  [default: all]"),
    ] = None,
    dtype: console.Dtype = None,
    json: console.Json = False,
) -> None:
    """Find which of your labels fit pictures.

    The model is one of texts and pictures. CLIP's probabilities of a picture add up to 1; SigLIP's are of
    each label by itself. A picture that cannot be read is named, the others are done, and the exit code is 1.
    """
    from zoo._inference.classify import check_compares, classifications

    arguments = inputs.check_given(pictures, file, "pictures")
    of = subject(name, dtype=dtype)
    check_compares(of)  # before its inputs are called wrong
    bad: list[str] = []

    def refused(picture: Any, error: Exception) -> None:
        bad.append(str(picture))
        typer.echo(f"zoo: {error}", err=True)

    found = classifications(
        of,
        inputs.pictures(arguments, file),
        [each.strip() for each in labels.split(",")] if labels.strip() else [],
        template=template,
        top=top,
        refused=refused,
    )
    console.table(("input", "label", "probability"), rows(found), json=json)
    if bad:
        raise typer.Exit(1)
