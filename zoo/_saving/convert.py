"""Checkpoints into files of the zoo, and back: what `zoo convert` and `zoo export` do."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from converters import read_checkpoint, read_names, to_torch, write_checkpoint, write_names
from converters.errors import ConversionError
from converters.formats import are_flax, safetensors
from converters.io import ArraySpec
from converters.linen import initial_values
from converters.matching import Conversion, Fit, NamesAndRules, best_fit, conversion_error, doubts
from converters.tensors import Tensors
from zoo._errors import ZooError
from zoo._loading import recognize, weights
from zoo._loading.build import build
from zoo._loading.load import pretrained_arrays
from zoo._loading.located import Located
from zoo._loading.preprocessing import Preprocessing, preprocessing
from zoo._loading.resolve import Name, resolve
from zoo._registry import families
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.manifest import CONFIG
from zoo._saving import save
from zoo._saving.call import NAMES, Call
from zoo._saving.call import read as read_call
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
    name: Name | None = None,
    config: Mapping[str, Any] = MappingProxyType({}),
    module: nn.Module | None = None,
    call: Call | None = None,
    names: NamesAndRules | None = None,
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    preprocess: Preprocessing | None = None,
    key: str | None = None,
    dtype: DTypeLike | None = None,
    allow_nonfinite: bool = False,
    overwrite: bool = False,
    report: Report = lambda done, total: None,
) -> Converted:
    """Writes a PyTorch checkpoint as Flax weights; one link's tensors at a time are in memory.

    Args:
        source: The checkpoint; a directory's config.json says what it is for, unless name or module do.
        out: A directory as `zoo.save` writes, or one file if it ends in `.safetensors`.
        name: The manifest's entry that it is for; recognised where neither it nor a module is given.
        config: Keywords of the family's `create` that differ from the entry's.
        module: A module of your own.
        call: The call of that module which finds its arrays.
        names: Names pairs and rules, instead of those that the family knows; kept for `export`.
        ignore: Regular expressions for whole names that may be left over.
        missing: Regular expressions for whole names, or paths of arrays, that the file may lack; these arrays
            keep their initial values.
        preprocess: Preprocessing of pictures, as for `zoo.save`; kept in a directory.
        key: Which state dict of a file that holds several.
        dtype: For floating-point arrays; None keeps the tensors' own.
        allow_nonfinite: Lets NaN and infinity pass.
        overwrite: Replaces what is there.
        report: Called after each array.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the file cannot be written.
        ConversionError: it does not fit.
        ZooError: it fits no entry, or several; or the module does not run on its inputs.
    """
    if name is None and module is None and (Path(source) / CONFIG).is_file():
        name = Path(source)
    tensors = read_checkpoint(source, key=key)
    if are_flax(tensors):
        raise ZooError(f"{os.fspath(source)!r} holds Flax variables already; zoo export is the way back.")
    call = call or Call()
    if module is not None:
        target = _own_target(module, call, names)
    elif name is not None:
        target = recognize.target(resolve(name).entry, names=names, config=config)
    else:
        target = None
    target, fit = _matched(tensors, target, names, ignore, missing)
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in target.entry.inputs]
    args, kwargs = (inputs, {}) if module is None else call.arguments(module)
    conversion = Conversion.of(
        fit,
        notes=(*fit.notes, *(() if module is None else doubts(fit))),
        dtype=None if dtype is None else float_dtype("dtype", dtype),
        allow_nonfinite=allow_nonfinite,
        initialize=lambda paths: initial_values(
            target.module, paths, *args, kwargs=kwargs, rngs=None, method=call.method
        ),
    )
    out, how = Path(out), None if preprocess is None else preprocessing(preprocess)
    if out.suffix == ".safetensors":
        if how:
            raise ZooError(f"{str(out)!r} has no place for preprocess=; choose a directory.")
        _write(conversion, out, overwrite=overwrite, report=report)
        return Converted(target.entry, conversion.notes)

    def put(path: Path) -> None:
        _write(conversion, path, report=report)
        if names:
            write_names(path.parent / NAMES, names)
        if module is not None and not target.entry.inputs:
            call.write(path.parent)

    entry = _described(target, Path(source))
    save.write(out, replace(entry, preprocess=how or entry.preprocess), put, overwrite=overwrite)
    return Converted(target.entry, conversion.notes)


def _own_target(module: nn.Module, call: Call, names: NamesAndRules | None) -> recognize.Target:
    """The target that a module of one's own is; its entry has the inputs that `__call__` takes alone."""
    plain = call.method is None and not call.arguments(module)[1]
    return recognize.Target(
        entry=Entry(type(module).__name__, 0, inputs=tuple(call.inputs) if plain else ()),
        module=module,
        inspection=call.inspect(module),
        layouts=(names or (),),
    )


def _matched(
    tensors: Tensors,
    target: recognize.Target | None,
    names: NamesAndRules | None,
    ignore: Sequence[str],
    missing: Sequence[str],
) -> tuple[recognize.Target, Fit]:
    if target is None:
        return recognize.recognize(tensors, names=names, ignore=ignore)
    fit, used = target.fit(tensors, ignore, missing)
    if not fit.problems:
        return target, fit
    error = conversion_error(
        fit,
        target.module,
        lambda more: best_fit(target.inspection, tensors, [*used, *more], (), ignore, missing),
    )
    other = recognize.similar_entry(tensors)
    if other and other != target.entry.name:
        raise ConversionError(f"{error}\nit looks like {other!r}", error.draft)
    raise error


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
    call: Call | None = None,
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
        call: The call of that module which finds its arrays; by default the one that it was converted with.
        names: Names pairs and rules, instead of those that it was converted with or the family knows.
        overwrite: Replaces what is there.

    Raises:
        WeightsError: the weights cannot be read.
        ConversionError: `like` does not fit.
    """
    located, built, arrays = _model(name, module)
    entry, inspected = located.entry, call
    if names is None and like is None and located.directory is not None:
        kept = located.directory / NAMES
        names = read_names(kept) if kept.is_file() else None
    if inspected is None and module is not None and located.directory is not None:
        inspected = read_call(located.directory)
    inspected = inspected or Call(inputs=entry.inputs)
    tensors = _original(located, like)
    if layout is not None:
        entry = replace(entry, layout=layout)
    if names is None and tensors is None and entry.layout:
        names = families.torch_names(entry)[entry.layout]
    ignore: Sequence[str] = ()
    if tensors is not None:
        target = (
            recognize.target(entry, names=names) if module is None else _own_target(built, inspected, names)
        )
        names, ignore = target.fit(tensors)[1], target.allowed
    args, kwargs = inspected.arguments(built)
    state_dict = to_torch(
        unflatten(arrays),
        built,
        *args,
        kwargs=kwargs,
        method=inspected.method,
        like=tensors,
        names=names or (),
        ignore=ignore,
    )
    write_checkpoint(state_dict, out, overwrite=overwrite)


def _original(located: Located, like: str | os.PathLike[str] | None) -> Tensors | None:
    """The tensors whose names, order and extras come back: those of `like`, or the repository's own."""
    if like is not None:
        return read_checkpoint(like)
    return weights.read(located) if located.entry.layout == families.ANY else None


def _model(
    name: str | os.PathLike[str], module: nn.Module | None
) -> tuple[Located, nn.Module, dict[str, Any]]:
    """A model, its module and arrays; the entry of a bare file is recognised by its paths and shapes."""
    if not os.fspath(name).endswith(".safetensors"):
        located = resolve(name)
        return located, *pretrained_arrays(located, module)
    arrays = read_checkpoint(name)
    if not are_flax(arrays):
        raise ZooError(f"{os.fspath(name)!r} holds PyTorch tensors already, such as {next(iter(arrays))!r}.")
    if module is not None:
        return Located(entry=Entry(type(module).__name__, 0)), module, dict(arrays)
    entry = recognize.entry_of_variables(arrays)
    return Located(entry=entry), build(entry)[0], dict(arrays)
