"""Checkpoints into files of the zoo, and back: what `zoo convert` and `zoo export` do."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from converters import read_checkpoint, to_torch, write_checkpoint
from converters.errors import ConversionError
from converters.formats import are_flax, safetensors
from converters.io import ArraySpec
from converters.matching import Conversion, Fit, NamesAndRules, best_fit, conversion_error
from converters.tensors import Tensors
from zoo._errors import ZooError
from zoo._loading import recognize
from zoo._loading.build import build
from zoo._loading.load import pretrained_arrays
from zoo._loading.resolve import resolve
from zoo._registry import families
from zoo._registry.entry import Entry, FrozenMapping, Input
from zoo._saving import save
from zoo._variables.casting import float_dtype
from zoo._variables.tree import unflatten

Report = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Converted:
    """Result of a conversion: the entry that fits, and notes for the user."""

    entry: Entry
    notes: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    module: nn.Module | None = None,
    inputs: Sequence[Input] = (),
    names: NamesAndRules | None = None,
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    key: str | None = None,
    dtype: DTypeLike | None = None,
    allow_nonfinite: bool = False,
    overwrite: bool = False,
    report: Report = lambda done, total: None,
) -> Converted:
    """Writes a PyTorch checkpoint as Flax weights; one link's tensors at a time are in memory.

    Args:
        source: The checkpoint.
        out: A directory as `zoo.save` writes, or one file if it ends in `.safetensors`.
        name: The manifest's entry that it is for; recognised where neither it nor a module is given.
        module: A module of your own.
        inputs: Inputs of that module.
        names: Names pairs and rules, instead of those that the family knows.
        ignore: Regular expressions for whole names that may be left over.
        missing: Regular expressions for whole names, or paths of arrays, that the file may lack; these arrays
            keep their initial values.
        key: Which state dict of a file that holds several.
        dtype: For floating-point arrays; None keeps the tensors' own.
        allow_nonfinite: Lets NaN and infinity pass.
        overwrite: Replaces what is there.
        report: Called after each array.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the file cannot be written.
        ConversionError: it does not fit.
        ZooError: it fits no entry, or several.
    """
    tensors = read_checkpoint(source, key=key)
    if are_flax(tensors):
        raise ZooError(f"{os.fspath(source)!r} holds Flax variables already; zoo export is the way back.")
    target, fit = _matched(tensors, name, module, inputs, names, ignore)
    cast = None if dtype is None else float_dtype("dtype", dtype)
    conversion = Conversion(
        links=fit.links, source=fit.tensors, notes=fit.notes, dtype=cast, allow_nonfinite=allow_nonfinite
    )

    put = partial(_write, conversion, report=report)
    out = Path(out)
    if out.suffix == ".safetensors":
        put(out, overwrite=overwrite)
    else:
        entry = _described(target, Path(source))
        save.write(out, entry, put, overwrite=overwrite)
    return Converted(target.entry, conversion.notes)


def _matched(
    tensors: Tensors,
    name: str | None,
    module: nn.Module | None,
    inputs: Sequence[Input],
    names: NamesAndRules | None,
    ignore: Sequence[str],
) -> tuple[recognize.Target, Fit]:
    if name is None and module is None:
        return recognize.recognize(tensors, names=names, ignore=ignore)
    if module is None:
        target = recognize.target(resolve(str(name)).entry, names=names)
    else:
        entry = Entry(type(module).__name__, 0, inputs=tuple(inputs))
        target = recognize.target(entry, module=module, names=names)
    fit, used = target.fit(tensors, ignore)
    if not fit.problems:
        return target, fit
    error = conversion_error(
        fit,
        target.module,
        lambda more: best_fit(target.inspection, tensors, [*used, *more], (), ignore),
    )
    other = recognize.similar_entry(tensors)
    if other and other != name:
        raise ConversionError(f"{error}\nit looks like {other!r}", error.draft)
    raise error


def _write(
    conversion: Conversion, path: Path, *, overwrite: bool = False, report: Report = lambda done, total: None
) -> None:
    """The arrays in one file, under their paths."""
    shapes = {array.path: array.shape for link in conversion.links for array in link.arrays}
    arrays = {"/".join(path): ArraySpec(dtype, shapes[path]) for path, dtype in conversion.dtypes.items()}
    total, done = sum(array.nbytes for array in arrays.values()), 0
    with safetensors.writing(path, arrays, overwrite=overwrite) as put:
        for name, array in conversion.arrays():
            put("/".join(name), array)
            done += array.nbytes
            report(done, total)


def _described(target: recognize.Target, source: Path) -> Entry:
    """Describes converted weights: not whose they are, nor how good."""
    params = (array for array in target.inspection.arrays if array.path[0] == "params")
    return replace(
        target.entry,
        num_params=sum(math.prod(array.shape) for array in params),
        weights=None,
        layout=None,
        license=None,
        source=f"zoo convert {source.name!a}",
        metrics=FrozenMapping(),
    )


def export(
    name: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    like: str | os.PathLike[str] | None = None,
    layout: str | None = None,
    module: nn.Module | None = None,
    names: NamesAndRules | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a model's weights as a PyTorch state dict: the way back of `convert`.

    Args:
        name: Name of the manifest, a model's directory, or a file that `convert` wrote.
        out: A `.safetensors` or a `.pth`.
        like: The checkpoint that the weights came from: its names, order, counters and prefixes come back.
        layout: Whose names, of those that the family knows; by default the entry's.
        module: A module of your own, for its directory.
        names: Names pairs and rules, instead of those that the family knows.
        overwrite: Replaces what is there.

    Raises:
        WeightsError: the weights cannot be read.
        ConversionError: `like` does not fit.
    """
    entry, built, arrays = _model(name, module)
    if layout is not None:
        entry = replace(entry, layout=layout)
    if names is None and like is None:
        names = families.torch_names(entry)[entry.layout] if entry.layout else ()
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in entry.inputs]
    tensors = None if like is None else read_checkpoint(like)
    if tensors is not None:
        names = recognize.target(entry, module=module, names=names).fit(tensors)[1]
    state_dict = to_torch(unflatten(arrays), built, *inputs, like=tensors, names=names or ())
    write_checkpoint(state_dict, out, overwrite=overwrite)


def _model(name: str | os.PathLike[str], module: nn.Module | None) -> tuple[Entry, nn.Module, dict[str, Any]]:
    """A model's entry, module and arrays; the entry of a bare file is recognised by its paths and shapes."""
    if not os.fspath(name).endswith(".safetensors"):
        located = resolve(name)
        return located.entry, *pretrained_arrays(located, module)
    arrays = read_checkpoint(name)
    if not are_flax(arrays):
        raise ZooError(f"{os.fspath(name)!r} holds PyTorch tensors already, such as {next(iter(arrays))!r}.")
    entry = recognize.entry_of_variables(arrays)
    return entry, build(entry, module=module)[0], dict(arrays)
