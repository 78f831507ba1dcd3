"""Checkpoints into files of the zoo: what `zoo convert` does, and `zoo.convert` for a model in memory."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.typing import DTypeLike

from converters import write_names
from converters.formats import safetensors
from converters.io import ArraySpec
from converters.matching import Conversion, NamesAndRules
from zoo._errors import ZooError
from zoo._loading.preprocessing import Preprocessing
from zoo._loading.resolve import Name
from zoo._model import Model
from zoo._registry.entry import Entry
from zoo._saving import save
from zoo._saving.call import NAMES, Call
from zoo._saving.own_module import OwnModule
from zoo._saving.plan import NO_CONFIG, Config, plan
from zoo._variables import lazy
from zoo._variables.tree import unflatten

Report = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Converted:
    """Result of a conversion: the entry that fits, and notes for the user."""

    entry: Entry
    notes: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    *,
    model: Name | None = None,
    names: NamesAndRules | None = None,
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    preprocess: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    key: str | None = None,
    dtype: DTypeLike | None = None,
    allow_nonfinite: bool = False,
    **config: Any,
) -> Model:
    """Makes a model of a PyTorch checkpoint whose architecture the zoo has; `save` writes it.

    The architecture is recognised by the names and shapes of the tensors, also with a head for other classes
    and a stem for other channels; the model's `notes` say as which. For a module of your own, use
    `converters.convert`.

    Args:
        source: A file of any kind that `converters.read_checkpoint` opens, or a folder or repository as for
            `load`, whose config.json says what it is of.
        model: Name of the model that it is for, where several fit or none does.
        names: Names pairs and rules, instead of those that the architecture knows.
        ignore: Regular expressions for whole names that may be left over.
        missing: Regular expressions for whole names, or paths of arrays, that the file may lack; these arrays
            keep their initial values.
        preprocess: Preprocessing of pictures, as for `save`; by default that of the recognised model.
        labels: Names of the classes, one for each logit.
        key: Which state dict of a file that holds several.
        dtype: For floating-point arrays; None keeps the tensors' own.
        allow_nonfinite: Lets NaN and infinity pass.
        **config: Keywords of the architecture's `create` that differ from those of `model`.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConversionError: it does not fit.
        ZooError: it fits no entry, or several.
    """
    planned = plan(
        source,
        model=model,
        config=config,
        names=names,
        ignore=ignore,
        missing=missing,
        preprocess=preprocess,
        labels=labels,
        key=key,
        dtype=dtype,
        allow_nonfinite=allow_nonfinite,
    )
    arrays: dict[str, Any] = {"/".join(path): array for path, array in planned.conversion.arrays()}
    variables = unflatten(lazy.place_all(arrays, None, None))
    notes = planned.conversion.notes
    if planned.recognized and not any(planned.entry.name in note for note in notes):
        notes = (f"fits {planned.entry.name!r}", *notes)
    return Model(planned.module, variables, planned.entry, notes)


def convert_to(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: Name | None = None,
    config: Config = NO_CONFIG,
    module: OwnModule | None = None,
    call: Call | None = None,
    names: NamesAndRules | None = None,
    overwrite: bool = False,
    report: Report = lambda done, total: None,
    **options: Any,
) -> Converted:
    """Writes a PyTorch checkpoint as Flax weights; one link's tensors at a time are in memory.

    Args:
        source: The checkpoint, as for `convert`.
        out: A directory as `zoo.save` writes, or one file if it ends in `.safetensors`.
        model: Name of the model that it is for; recognised where neither it nor a module is given.
        config: Keywords of the architecture's `create` that differ from those of `model`.
        module: A module of your own.
        call: The call of that module which finds its arrays, if it is linen's.
        names: Names pairs and rules, instead of those that the architecture knows; kept for `export`.
        overwrite: Replaces what is there.
        report: Called after each array.
        **options: The others of `convert`.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the file cannot be written.
        ConversionError: it does not fit.
        ZooError: it fits no entry, or several; or the module does not run on its inputs.
    """
    planned = plan(source, model=model, config=config, module=module, call=call, names=names, **options)
    out, conversion, notes = Path(out), planned.conversion, planned.conversion.notes
    if out.suffix == ".safetensors":
        for keyword in ("preprocess", "labels"):
            if options.get(keyword) is not None:
                raise ZooError(f"{str(out)!r} has no place for {keyword}=; choose a directory.")
        _write(conversion, out, overwrite=overwrite, report=report)
        lost = (*planned.beside, *([NAMES] if planned.names else ()))
        kept = f"the file has no place for {', '.join(lost)}, which a directory keeps"
        return Converted(planned.entry, (*notes, kept) if lost else notes)

    def put(path: Path) -> None:
        _write(conversion, path, report=report)
        if planned.names:
            write_names(path.parent / NAMES, planned.names)
        if call is not None and not planned.entry.inputs:
            call.write(path.parent)

    save.write(out, planned.entry, put, beside=planned.beside, overwrite=overwrite)
    return Converted(planned.entry, notes)


def _write(
    conversion: Conversion, path: Path, *, overwrite: bool = False, report: Report = lambda done, total: None
) -> None:
    """The arrays in one file, under their paths."""
    filled = (array for link in conversion.links for array in link.arrays)
    shapes = {array.path: array.shape for array in (*filled, *conversion.initial)}
    arrays = {"/".join(path): ArraySpec(dtype, shapes[path]) for path, dtype in conversion.dtypes.items()}
    total, done = sum(array.nbytes for array in arrays.values()), 0
    with safetensors.writing(path, arrays, overwrite=overwrite) as put:
        for name, array in conversion.arrays():
            put("/".join(name), array)
            done += array.nbytes
            report(done, total)
