"""The verbs `zoo convert`, `zoo export` and `zoo verify`."""

import json as codec
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Annotated, Any, Literal

import typer

from converters import ConversionError, read_names, write_names
from converters.matching import to_toml, written
from zoo._errors import ZooError
from zoo._progress import bytes_bar
from zoo.cli.console import Json, Name, record, table
from zoo.cli.flags import in_flags
from zoo.cli.modules import Module, make_own

Names = Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file of names pairs and rules.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]

Checkpoint = Annotated[
    str,
    typer.Argument(
        metavar="CKPT",
        help="A checkpoint of PyTorch, Flax, NumPy (.npz) or Orbax, or a folder or hf:// of transformers.",
    ),
]
FlaxFile = Annotated[
    Path, typer.Option("-o", "--out", metavar="OUT", help="The directory or .safetensors file to write.")
]
TorchFile = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        metavar="OUT",
        help="The file to write, .pth or .safetensors, or a program's directory.",
    ),
]
To = Annotated[
    Literal["torch", "stablehlo"],
    typer.Option(help="PyTorch's tensors, or a program that jax runs without this package."),
]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The model whose weights it holds.  [default: recognized]"),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Shape of an input of --module: 1,28,28,1 or 1,16:int32; NAME=SHAPE for a keyword, "
        "NAME.KEY=SHAPE for an array in a dictionary.",
    ),
]
Key = Annotated[str | None, typer.Option(help="Key of the state dict, in a file with several.")]
Dtype = Annotated[str | None, typer.Option(help="Dtype of floating-point arrays.  [default: the file's]")]
Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="RE", help="Regular expression of tensors that may be left over."),
]
Missing = Annotated[
    list[str] | None,
    typer.Option(metavar="RE", help="Regular expression of names or arrays that the file may lack."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A keyword of --model's architecture, or of the call of --module."
    ),
]
Method = Annotated[str | None, typer.Option(help="Method of --module, instead of __call__.")]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="How pictures become inputs: as of another model, or a preprocessor_config.json.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Names of the classes: one a line, or JSON that lists or numbers them."
    ),
]
AllowNonfinite = Annotated[bool, typer.Option("--allow-nonfinite", help="Accept NaN and infinity.")]
Draft = Annotated[
    Path | None,
    typer.Option("--write-names", metavar="FILE", help="File for a draft of names, if none fit."),
]
Like = Annotated[
    Path | None,
    typer.Option(
        metavar="CKPT",
        help="The original checkpoint, whose names, order and counters of tensors come back; "
        "an optimizer's state does not.",
    ),
]
Layout = Annotated[str | None, typer.Option(help="Layout of the tensors' names, such as timm.")]


def convert(
    ctx: typer.Context,
    checkpoint: Checkpoint,
    out: FlaxFile,
    model: Model = None,
    module: Module = None,
    input_: Inputs = None,
    method: Method = None,
    set_: Set = None,
    names: Names = None,
    key: Key = None,
    dtype: Dtype = None,
    ignore: Ignore = None,
    missing: Missing = None,
    preprocess: Preprocess = None,
    labels: Labels = None,
    allow_nonfinite: AllowNonfinite = False,
    draft: Draft = None,
    force: Force = False,
) -> None:
    """Convert a checkpoint of PyTorch, Orbax or NumPy to Flax weights, exactly."""
    from zoo._saving.convert import convert_to

    own = make_own(module)
    nnx = own is not None and not hasattr(own, "apply")
    if (module and model) or bool(input_) != (own is not None and not nnx):
        raise typer.BadParameter("give --model, or --module with --input, or --module of NNX, or neither")
    if nnx and (method or set_):
        raise typer.BadParameter("a module of NNX knows its shapes: leave out --method and --set")
    if module is None and (method or (set_ and not model)):
        raise typer.BadParameter("--method goes with --module, --set with --module or --model")
    with _drafting(draft, overwrite=force), bytes_bar() as report:
        done = convert_to(
            checkpoint,
            out,
            model=model,
            config={} if module else _values(set_),
            module=own,
            call=call_of(input_, set_, method) if input_ else None,
            names=None if names is None else read_names(names),
            ignore=ignore or (),
            missing=missing or (),
            preprocess=preprocess,
            labels=None if labels is None else read_labels(labels),
            key=key,
            dtype=dtype,
            allow_nonfinite=allow_nonfinite,
            overwrite=force,
            report=report,
        )
    for note in done.notes:
        typer.echo(f"zoo: {in_flags(note, ctx.command.params)}", err=True)
    print(done.entry.name)


def export(
    name: Name,
    out: TorchFile,
    like: Like = None,
    layout: Layout = None,
    module: Module = None,
    input_: Inputs = None,
    method: Method = None,
    set_: Set = None,
    names: Names = None,
    ignore: Ignore = None,
    to: To = "torch",
    force: Force = False,
) -> None:
    """Write a model's weights as a PyTorch state dict, or the model as a program.

    The state dict is the inverse of `zoo convert`, whose .safetensors file may be NAME, too. A program is a
    directory: StableHLO for any number of examples, its weights, and a program.json that says how to call it.
    """
    if to == "stablehlo":
        from zoo._saving.program import export_stablehlo

        if like or layout or module or input_ or method or set_ or names or ignore:
            raise typer.BadParameter("--to stablehlo takes NAME, -o and --force alone")
        difference = export_stablehlo(name, out, overwrite=force)
        typer.echo(f"zoo: its outputs are within {difference:.1e} of the model's", err=True)
        return
    from zoo._saving.export import export as run

    run(
        name,
        out,
        like=like,
        layout=layout,
        module=make_own(module),
        call=call_of(input_, set_, method) if input_ else None,
        names=None if names is None else read_names(names),
        ignore=ignore or (),
        overwrite=force,
    )


def verify(
    name: Name,
    module: Module = None,
    json: Json = False,
) -> None:
    """Check a model's hash, parameters and outputs.

    Outputs are compared with stored ones, PyTorch's for most models, in float64. Where nobody has published a
    hash or stored outputs, that is said and is no failure; --json has null for them.
    """
    from zoo._saving.verify import verify as run

    found = run(name, module=make_own(module))
    if json:
        record(
            {"sha256": found.sha256, "parameters": found.num_params, "outputs": found.difference}, json=True
        )
        return
    outputs = "not verified: there is no golden file"
    if found.difference is not None:
        outputs = f"within {found.difference:.1e} of {found.made_by}'s, in float64"
    rows = {
        "sha256": found.sha256 or "not verified: nobody has published it",
        "parameters": f"{found.num_params:,}, all finite",
        "outputs": outputs,
    }
    table(("checked", "found"), [*rows.items()])


def read_labels(path: Path) -> list[str]:
    """Reads names of classes: one a line, or JSON: a list, names by number or numbers by name.

    Raises:
        ZooError: the file is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ZooError(f"{str(path)!r} is no text: {error}") from error
    try:
        found = codec.loads(text)
    except ValueError:
        return [line for line in map(str.strip, text.splitlines()) if line]
    if isinstance(found, dict):
        found = found.get("id2label", found)
        if all(isinstance(each, int) for each in found.values()):
            found = {number: name for name, number in found.items()}
        numbered = {str(number): name for number, name in found.items()}
        found = [numbered.get(str(index)) for index in range(len(numbered))]
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        raise ZooError(
            f"{str(path)!r} does not name the classes; expected one a line, or JSON such as "
            '["cat", "dog"], {"0": "cat", "1": "dog"} or {"cat": 0, "dog": 1}'
        )
    return found


def call_of(inputs: list[str] | None, values: list[str] | None, method: str | None) -> Any:
    """Returns the call that --input, --set and --method describe."""
    from zoo._saving.call import parse

    try:
        return parse(inputs or (), _values(values), method)
    except ValueError as error:
        raise typer.BadParameter(
            f"--input {' '.join(inputs or ())}: expected sizes such as 1,28,28,1"
        ) from error


def _values(texts: list[str] | None) -> dict[str, Any]:
    """Returns the values that texts such as num_classes=37 mean: JSON's, or else the text itself."""
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"--set {text}: expected NAME=VALUE, such as num_classes=37")
        try:
            found[name] = codec.loads(value)
        except ValueError:
            found[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return found


@contextmanager
def _drafting(path: Path | None, *, overwrite: bool) -> Iterator[None]:
    """Shows the draft of a refused conversion as a file for --names has it, and writes it to one."""
    try:
        yield
    except ConversionError as error:
        if not error.draft:
            raise
        said = str(error).replace(written(error.draft), indent(to_toml(error.draft), "  "))
        if path:
            write_names(path, error.draft, overwrite=overwrite)
            more = f"wrote the draft to {str(path)!r}; check it, then --names {path}"
        else:
            more = "`--write-names names.toml` writes these lines for --names"
        raise ConversionError(f"{said}\n{more}") from error
