"""`zoo publish`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo._progress import is_terminal
from zoo.cli import console
from zoo.cli.console import Name
from zoo.cli.modules import Module, make

if TYPE_CHECKING:
    from zoo._publishing.plan import Plan


Repo = Annotated[str, typer.Argument(metavar="REPO", help="The repository, as owner/name.")]
Public = Annotated[bool, typer.Option("--public", help="Let everybody read the repository.")]
Create = Annotated[bool, typer.Option("--create", help="Create the repository if it is missing.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the files of the repository.")]
Torch = Annotated[bool, typer.Option("--torch", help="Publish a state dict for PyTorch, too.")]
Tag = Annotated[str | None, typer.Option(metavar="TAG", help="Tag the commit, as with v1.0.")]
Message = Annotated[str | None, typer.Option(metavar="TEXT", help="Message of the commit.")]
License = Annotated[
    str | None,
    typer.Option("--license", metavar="ID", help="License of the weights.  [default: the model's own]"),
]
Manifest = Annotated[Path | None, typer.Option(metavar="FILE", help="Add the entry to this manifest.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan, and send nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Publish without asking.")]


def publish(
    name: Name,
    repo: Repo,
    public: Public = False,
    create: Create = False,
    force: Force = False,
    torch: Torch = False,
    tag: Tag = None,
    message: Message = None,
    license_: License = None,
    manifest: Manifest = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    module: Module = None,
    json: console.Json = False,
) -> None:
    """Publish a model on the Hugging Face Hub.

    All files go in one commit, whose address is printed. The repository is private unless --public is given.
    --dry-run prints the files instead, and needs no token.
    """
    from zoo._publishing.plan import Request
    from zoo._publishing.publish import run
    from zoo._publishing.stage import StageOptions

    request = Request(
        repo=repo,
        private=not public,
        create=create,
        force=force,
        tag=tag,
        message=message,
        manifest=manifest,
        dry_run=dry_run,
    )
    options = StageOptions(module=make(module), license=license_, torch=torch)

    def review(plan: "Plan") -> None:
        """Shows the plan; goes on where the user agrees."""
        _show(plan, json=json and dry_run, err=not dry_run)
        if dry_run:
            raise typer.Exit
        if not yes:
            _ask()

    done = run(name, request, options, review)
    if json:
        console.record({"url": done.url, "entry": done.entry}, json=True)
        return
    print(done.url)
    if done.entry and not manifest:
        print(done.entry, end="")


def _ask() -> None:
    if not is_terminal(sys.stdin):
        raise typer.BadParameter("nobody is there to be asked; pass --yes")
    typer.confirm("Publish this?", abort=True, err=True)


def _show(plan: "Plan", *, json: bool, err: bool) -> None:
    visible = "private" if plan.private else "public"
    if plan.creates:
        state = "which is made first"
    else:
        state = f"now at {plan.head}" if plan.head else "whose content is not known"
    typer.echo(f"{plan.url}: {visible}, {state}{f', tagged {plan.tag}' if plan.tag else ''}", err=True)
    for note in plan.notes:
        typer.echo(f"zoo: {note}", err=True)
    rows = [(file.change, console.size(file.size), file.sha256 or None, file.path) for file in plan.files]
    console.table(("change", "bytes", "sha256", "file"), rows, json=json, err=err)
