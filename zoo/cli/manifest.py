"""The verbs `zoo manifest add` and `zoo manifest check`, for people who edit the manifest."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo._progress import is_terminal
from zoo.cli import console
from zoo.cli.console import Json
from zoo.cli.verbs import Group, Verb

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None)

File = Annotated[
    Path | None,
    typer.Option("--manifest", metavar="FILE", help="The YAML file.  [default: the one of the checkout]"),
]


@app.callback()
def root() -> None:
    """Edit and check the manifest, which lists the models."""


Address = Annotated[
    str, typer.Argument(metavar="REPO_OR_URL", help="hf://owner/name[@revision], or the URL of a file.")
]
Like = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Take the unstated of architecture, preprocessing and classes from this model."
    ),
]
RepositoryFile = Annotated[
    str | None, typer.Option("--file", metavar="FILE", help="Take this file of the repository.")
]
License = Annotated[
    str | None,
    typer.Option("--license", metavar="ID", help="License of the weights.  [default: the model card's]"),
]
Scores = Annotated[
    list[str] | None,
    typer.Option(
        "--score",
        metavar="NAME=VALUE",
        help="A metric, such as imagenet1k_val_top1=0.76.  [default: the model card's]",
    ),
]
Paper = Annotated[
    str | None, typer.Option(metavar="URL", help="Address of the paper.  [default: the model card's]")
]
Source = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Origin of the weights.  [default: REPO_OR_URL]")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the entry, and leave the file as it is.")]


@app.command(cls=Verb)
def add(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name for the model, or MODEL.TAG for further weights of one."),
    ],
    address: Address,
    like: Like = None,
    file: RepositoryFile = None,
    license_: License = None,
    score: Scores = None,
    paper: Paper = None,
    source: Source = None,
    manifest: File = None,
    dry_run: DryRun = False,
) -> None:
    """Add an entry for published weights, and print it.

    The weights are downloaded and verified; license, metrics and paper are taken from the model card.
    """
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
    print(manifest_file.add(path, entry, dry_run=dry_run), end="")


@app.command(cls=Verb)
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help="Names, or patterns such as 'resnet*'.  [default: all]",
            autocompletion=console.complete_name,
        ),
    ] = None,
    files: Annotated[
        bool, typer.Option("--files", help="Verify the hash of weights that are on this machine.")
    ] = False,
    manifest: File = None,
    json: Json = False,
) -> None:
    """Check entries, and report all problems at once.

    Schema and order of the whole manifest are checked, and each entry is compared with its module.
    """
    from zoo._publishing import manifest_check

    checked = manifest_check.check(manifest, names or (), files=files)
    if json:
        console.table(("name",), [(name,) for name in checked], json=True)
        return
    print(f"{len(checked)} {'entry is' if len(checked) == 1 else 'entries are'} right")


def _ask(question: str) -> str:
    answer: str = typer.prompt(question, default="", show_default=False, err=True)
    return answer.strip()
