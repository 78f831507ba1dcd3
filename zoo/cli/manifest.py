"""The verbs `zoo manifest add` and `zoo manifest check`, for people who edit the manifest."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo._progress import is_terminal

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

File = Annotated[
    Path | None,
    typer.Option("--manifest", metavar="FILE", help="The YAML file.  [default: the one of the checkout]"),
]


@app.callback()
def root() -> None:
    """Edit and check weights_manifest.yaml: the models that the zoo has."""


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name that the model gets, in lower case.")],
    address: Annotated[
        str, typer.Argument(metavar="REPO_OR_URL", help="hf://owner/name[@revision], or the URL of a file.")
    ],
    like: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take architecture, preprocessing and classes from this model of the manifest.",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Take this file of the repository.")
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="License of the weights.  [default: the model card's]")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A metric, such as imagenet1k_val_top1=0.76.  [default: the model card's]",
        ),
    ] = None,
    paper: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the paper.  [default: the model card's]")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Origin of the weights.  [default: REPO_OR_URL]")] = None,
    manifest: File = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the entry, and leave the file as it is.")
    ] = False,
) -> None:
    """Add published weights: download them, find out the entry, and print what was added."""
    from zoo._publishing.manifest_draft import Choices, draft, scores
    from zoo._registry import manifest_file

    path = manifest or manifest_file.editable()
    known = manifest_file.with_room_for(path, name)
    choices = Choices(
        like=like,
        file=file,
        license=license_,
        metrics=scores(score or ()),
        paper=paper,
        source=source,
    )
    entry, notes = draft(known, name, address, choices, _ask if is_terminal(sys.stdin) else None)
    for note in notes:
        typer.echo(f"zoo: {note}", err=True)
    if dry_run:
        manifest_file.extended(path, entry)
    print(manifest_file.block(entry, known) if dry_run else manifest_file.add(path, entry), end="")


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Names, or patterns such as 'resnet*'.  [default: all]"),
    ] = None,
    files: Annotated[
        bool, typer.Option("--files", help="Verify the hash of weights that are on this machine.")
    ] = False,
    manifest: File = None,
) -> None:
    """Check schema, order, and that each entry's module can be built and has the stated parameters."""
    from zoo._publishing import manifest_check

    checked = manifest_check.check(manifest, names or (), files=files)
    print(f"{len(checked)} {'entry is' if len(checked) == 1 else 'entries are'} right")


def _ask(question: str) -> str:
    answer: str = typer.prompt(question, default="", show_default=False, err=True)
    return answer.strip()
