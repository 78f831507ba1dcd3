"""`zoo publish`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo._progress import is_terminal
from zoo.cli import console, convert

if TYPE_CHECKING:
    from zoo._publishing.plan import Plan


def publish(
    name: Annotated[str, typer.Argument(help="A name, or a model's directory.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Where it goes: owner/name.")],
    public: Annotated[bool, typer.Option("--public", help="For everybody to read.")] = False,
    create: Annotated[bool, typer.Option("--create", help="Make the repository if it is not there.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what it holds.")] = False,
    torch: Annotated[bool, typer.Option("--torch", help="Publish PyTorch tensors, too.")] = False,
    tag: Annotated[str | None, typer.Option(help="A name for the commit, such as v1.0.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="Of the weights.  [default: as the model's record says]")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The manifest that gets the entry.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    module: convert.Module = None,
) -> None:
    """Puts a model on the Hugging Face Hub in one commit, private unless --public; prints where it is."""
    from zoo._publishing.plan import Request
    from zoo._publishing.publish import run
    from zoo._publishing.stage import StageOptions

    def review(plan: "Plan") -> None:
        _show(plan)
        if dry_run:
            raise typer.Exit
        if not yes:
            _ask()

    request = Request(
        repo=repo,
        private=not public,
        create=create,
        force=force,
        tag=tag,
        message=message,
        manifest=manifest,
    )
    options = StageOptions(module=convert.make(module), license=license_, torch=torch)
    done = run(name, request, options, review)
    print(done.url)
    if done.entry and not manifest:
        print(done.entry, end="")


def _ask() -> None:
    if not is_terminal(sys.stdin):
        raise typer.BadParameter("nobody is there to be asked; pass --yes")
    typer.confirm("Publish this?", abort=True, err=True)


def _show(plan: "Plan") -> None:
    visible = "private" if plan.private else "public"
    state = "which is made first" if plan.creates else f"now at {plan.head}"
    typer.echo(f"{plan.url}: {visible}, {state}{f', tagged {plan.tag}' if plan.tag else ''}", err=True)
    for note in plan.notes:
        typer.echo(f"zoo: {note}", err=True)
    rows = [(file.change, file.size, file.sha256 or "-", file.path) for file in plan.files]
    console.table(("change", "bytes", "sha256", "file"), rows, err=True)
