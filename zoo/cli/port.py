"""The verb `zoo port`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.convert import call_of
from zoo.cli.flags import in_flags
from zoo.cli.modules import make_torch

Factory = Annotated[
    str,
    typer.Argument(
        metavar="PKG.MOD:FACTORY", help="A function without arguments that returns a torch.nn.Module."
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The directory to write.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Shape of an input as PyTorch has it: 1,3,224,224 or 2,16:int64; NAME=SHAPE for a keyword.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME=SHAPE",
        help="A method in place of forward, with the shape of its argument; once for each argument.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another keyword of the module's forward."),
]
Target = Annotated[str, typer.Option(metavar="NAME", help="What to write: linen, or nnx.")]
Publish = Annotated[
    str | None,
    typer.Option(metavar="REPO", help="Publish it in this repository of the Hub, as `zoo publish` does."),
]
License = Annotated[
    str | None, typer.Option("--license", metavar="ID", help="License of the weights, with --publish.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


def port(
    ctx: typer.Context,
    factory: Factory,
    out: Out,
    input_: Inputs = None,
    method: Methods = None,
    set_: Set = None,
    target: Target = "linen",
    publish: Publish = None,
    license_: License = None,
    force: Force = False,
) -> None:
    """Write a torch module as Flax source, with its weights, proven equal.

    The directory gets net.py, the weights, PyTorch's outputs for `zoo verify`, and certificate.txt: the
    differences in float64 of outputs, gradients and running statistics. --publish sends all of it to a
    private repository of yours. With --target nnx the source is NNX's, and the weights keep PyTorch's names,
    for `converters.convert`.
    """
    from zoo._saving.port import SOURCE, port_to

    if license_ and not publish:
        raise typer.BadParameter("--license goes with --publish")
    if publish and target != "linen":
        raise typer.BadParameter("--publish takes --target linen, whose models `zoo load` takes")
    if bool(input_) == bool(method) or (method and set_):
        raise typer.BadParameter("give --input SHAPE, or --method NAME=SHAPE")
    calls = {name: call_of(shapes, None, None) for name, shapes in _by_name(method or ()).items()}
    call = call_of(input_, set_, None)
    done = port_to(make_torch(factory), call, out, target=target, overwrite=force, methods=calls)
    for note in done.notes:
        typer.echo(f"zoo: {in_flags(note, ctx.command.params)}", err=True)
    print(done.directory / SOURCE)
    if publish:
        from zoo._publishing.plan import Request
        from zoo._publishing.publish import run
        from zoo._publishing.stage import StageOptions

        module: Any = done.ported.module
        options = StageOptions(module=module, license=license_)
        print(run(str(out.absolute()), Request(repo=publish, create=True), options, lambda plan: None).url)


def _by_name(texts: Sequence[str]) -> dict[str, list[str]]:
    """Returns the shapes of each method's arguments."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, _, shape = text.partition("=")
        found.setdefault(name, []).append(shape)
    return found
