"""The verbs `zoo convert`, `zoo export` and `zoo verify`."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from converters import ConversionError, read_names, write_names
from zoo._progress import bytes_bar
from zoo._registry.entry import Input

Names = Annotated[Path | None, typer.Option(metavar="FILE", help="Names pairs and rules, in TOML.")]
Module = Annotated[
    str | None,
    typer.Option(metavar="PKG.MOD:FACTORY", help="A module of your own: what makes it, without arguments."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def convert(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A PyTorch checkpoint of any kind.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT", help="A directory, or a file.safetensors.")
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which model it is.  [default: recognised]")
    ] = None,
    module: Module = None,
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="SHAPE", help="Of an input of --module: 1,28,28,1 or 1,16:int32."),
    ] = None,
    names: Names = None,
    key: Annotated[str | None, typer.Option(help="Which state dict of a file with several.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Of floating-point arrays.  [default: kept]")] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RE", help="Names of tensors that may be left over.")
    ] = None,
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Let NaN and infinity pass.")
    ] = False,
    draft: Annotated[
        Path | None,
        typer.Option("--write-names", metavar="FILE", help="Where a draft of names goes if none fit."),
    ] = None,
    force: Force = False,
) -> None:
    """Makes Flax weights of a PyTorch checkpoint, exactly."""
    from zoo._saving.convert import convert as run

    if (module is None) != (not input_) or (module and model):
        raise typer.BadParameter("give --model, or --module with --input, or neither")
    with _drafting(draft, force), bytes_bar() as report:
        done = run(
            checkpoint,
            out,
            name=model,
            module=make(module),
            inputs=[_input(index, text) for index, text in enumerate(input_ or ())],
            names=None if names is None else read_names(names),
            ignore=ignore or (),
            key=key,
            dtype=dtype,
            allow_nonfinite=allow_nonfinite,
            overwrite=force,
            report=report,
        )
    for note in done.notes:
        typer.echo(f"zoo: {note}", err=True)
    print(done.entry.name)


def export(
    name: Annotated[str, typer.Argument(help="A name, a model's directory, or a file of `zoo convert`.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="A file.pth or file.safetensors.")],
    like: Annotated[
        Path | None,
        typer.Option(metavar="CKPT", help="The checkpoint that it came from, to be restored whole."),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Whose names, such as timm.")] = None,
    module: Module = None,
    names: Names = None,
    force: Force = False,
) -> None:
    """Makes a PyTorch state dict of a model's weights: the way back of `zoo convert`."""
    from zoo._saving.convert import export as run

    run(
        name,
        out,
        like=like,
        layout=layout,
        module=make(module),
        names=None if names is None else read_names(names),
        overwrite=force,
    )


def verify(
    name: Annotated[str, typer.Argument(help="A name, or a model's directory.")], module: Module = None
) -> None:
    """Checks a model's weights: hash, number of parameters, and outputs against PyTorch's."""
    from zoo._saving.verify import verify as run
    from zoo.cli.console import table

    found = run(name, module=make(module))
    outputs = "outputs not verified: there is no golden file"
    if found.difference is not None:
        outputs = f"within {found.difference:.1e} of {found.made_by}'s, in float64"
    rows = [
        ("sha256", found.sha256 or "not attested"),
        ("parameters", f"{found.num_params:,}, all finite"),
        ("outputs", outputs),
    ]
    table(("checked", "found"), rows)


def make(text: str | None) -> Any:
    """The module that `pkg.mod:factory` makes, if any."""
    if text is None:
        return None
    place, _, factory = text.partition(":")
    sys.path.insert(0, os.getcwd())  # where a console script does not look by itself
    try:
        return getattr(importlib.import_module(place), factory)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise typer.BadParameter(f"--module {text}: {error}") from error
    finally:
        sys.path.remove(os.getcwd())


def _input(index: int, text: str) -> Input:
    shape, _, dtype = text.partition(":")
    try:
        return Input(f"input{index}", tuple(int(size) for size in shape.split(",")), dtype or "float32")
    except ValueError as error:
        raise typer.BadParameter(f"--input {text}: expected sizes such as 1,28,28,1") from error


@contextmanager
def _drafting(path: Path | None, overwrite: bool) -> Iterator[None]:
    """Writes the draft of a refused conversion to a file."""
    try:
        yield
    except ConversionError as error:
        if path and error.draft:
            write_names(path, error.draft, overwrite=overwrite)
            raise ConversionError(
                f"{error}\nwrote the draft to {str(path)!r}; check it, then --names {path}"
            ) from error
        raise
