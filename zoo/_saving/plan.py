"""Plan of a conversion: the model that a checkpoint is for, its arrays, and the files beside the weights."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flax.linen as nn
from jax.typing import DTypeLike

from converters import read_checkpoint
from converters.checkpoints import Checkpoint
from converters.errors import ConversionError
from converters.formats import are_flax
from converters.matching import (
    Conversion,
    Fit,
    NamesAndRules,
    best_fit,
    conversion_error,
    doubts,
    fewest_problems,
)
from converters.tensors import Tensors
from zoo._errors import ZooError
from zoo._loading import lone_file, recognize, repositories
from zoo._loading.companions import companion
from zoo._loading.layouts import Leeway
from zoo._loading.load import pretrained_fit
from zoo._loading.located import Located
from zoo._loading.preprocessing import Preprocessing, preprocessing
from zoo._loading.resolve import Name, resolve
from zoo._loading.text_settings import text_files
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.manifest import CONFIG
from zoo._saving import own_module
from zoo._saving.call import Call
from zoo._saving.own_module import OwnModule, flax_module, initializer, inspections
from zoo._saving.save import GOLDEN, checked_labels
from zoo._saving.verify import MAX_GOLDEN
from zoo._variables.casting import float_dtype

Config = Mapping[str, Any]
NO_CONFIG: Config = MappingProxyType({})
FLAX = "holds Flax variables already; zoo export is the way back."


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A conversion that fits; no number has been read yet, but of tied tensors.

    Attributes:
        entry: Record of the result: not whose weights they are, nor how good.
        module: The module that the arrays are of.
        conversion: Their tensors.
        names: Names pairs and rules of the tensors' names.
        beside: Contents of further files of a folder, by name: a tokenizer's, golden outputs.
        recognized: If true, nobody said which entry it is.
    """

    entry: Entry
    module: nn.Module
    conversion: Conversion
    names: NamesAndRules
    beside: Mapping[str, bytes] = FrozenMapping()
    recognized: bool = False


def plan(
    source: str | os.PathLike[str],
    *,
    model: Name | None = None,
    config: Config = NO_CONFIG,
    module: OwnModule | None = None,
    call: Call | None = None,
    names: NamesAndRules | None = None,
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    preprocess: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    key: str | None = None,
    dtype: DTypeLike | None = None,
    allow_nonfinite: bool = False,
) -> Plan:
    """Finds what a checkpoint becomes; arguments as for `zoo._saving.convert.convert`.

    Raises:
        CheckpointError: it cannot be read.
        ConversionError: it does not fit.
        ZooError: it fits no entry, or several; or the module does not run on its inputs.
    """
    if not isinstance(source, str | os.PathLike):
        raise ZooError(
            f"found {type(source).__name__}, expected the path of a checkpoint, a folder or a repository; "
            "converters.write_checkpoint makes a file of tensors, and converters.convert takes them so."
        )
    folder = _folder(source) if module is None and model is None else None
    leeway = Leeway.of(ignore, missing)
    located = resolve(folder) if folder and names is None and key is None else None
    if located and (located.entry.layout or located.directory is None):
        made = _of_folder(located, config, leeway)
    else:
        tensors = read_checkpoint(source, key=key)
        if are_flax(tensors) and _is_of_the_zoo(tensors):
            lone = Path(source).is_file() and not (Path(source).parent / CONFIG).is_file()
            what = lone_file.advice(Path(source)) if lone else FLAX
            raise ZooError(f"{os.fspath(source)!r} {what}")
        if module is not None:
            target, fit = _own(tensors, module, call or Call(), names, leeway)
        elif model or folder:
            target, fit = _named(tensors, resolve(model or str(folder)).entry, names, leeway, config)
        else:
            target, fit = recognize.recognize(tensors, names=names, leeway=leeway)
        target = target if preprocess is None else replace(target, doubts=())
        made = _of_target(Path(source), target, fit, module, call)
    entry, conversion, beside = made.entry, made.conversion, made.beside
    conversion = replace(conversion, allow_nonfinite=allow_nonfinite)
    if dtype is not None:
        conversion = replace(conversion, dtype=float_dtype("dtype", dtype))
        # What was computed in another dtype is wrong for these.
        beside = {file: content for file, content in beside.items() if file != GOLDEN}
    if preprocess is not None:
        entry = replace(entry, preprocess=preprocessing(preprocess))
    if labels is not None:
        entry = replace(entry, classes=None, labels=checked_labels(labels, made.module))
    recognized = located is None and module is None and not (model or folder)
    return replace(made, conversion=conversion, entry=entry, beside=beside, recognized=recognized)


def _is_of_the_zoo(tensors: Checkpoint) -> bool:
    """Returns whether variables are in a file as `zoo.save` writes it: nothing is to be converted."""
    return all(file.path.suffix == ".safetensors" for file in tensors.files())


def _folder(source: str | os.PathLike[str]) -> str | None:
    """Returns the name of a repository or of a folder with a config.json, which says what it is of."""
    if repositories.is_one(source):
        return str(source)
    path = os.fspath(source)
    # With a separator it is no name of the manifest.
    return os.path.join(os.curdir, path) if (Path(path) / CONFIG).is_file() else None


def _of_folder(located: Located, config: Config, leeway: Leeway) -> Plan:
    """The plan of a folder or repository as `zoo.load` reads it, with its files of texts and outputs."""
    name = located.entry.name
    if located.entry.layout is None:
        raise ZooError(f"{name!r} {FLAX}")
    module, entry, (fit, notes, names, _) = pretrained_fit(located, config, leeway)
    conversion = _conversion(fit, notes, module, entry, None)
    golden = None if config or conversion.initial else companion(located, GOLDEN, MAX_GOLDEN)
    texts = text_files(located) if entry.has_text_files else {}
    return Plan(
        entry=_described(replace(entry, name=Path(name).name), conversion, Path(name)),
        module=module,
        conversion=conversion,
        names=names,
        beside=texts if golden is None else {**texts, GOLDEN: golden},
    )


def _own(
    tensors: Tensors, module: OwnModule, call: Call, names: NamesAndRules | None, leeway: Leeway
) -> tuple[recognize.Target, Fit]:
    target, fit = fewest_problems(
        own_targets(module, call, names), lambda target: target.fit(tensors, *leeway)[0]
    )
    if fit.problems:
        raise _refusal(tensors, target, fit, names or (), leeway, hint=call.channels_first())
    return target, fit


def own_targets(module: OwnModule, call: Call, names: NamesAndRules | None) -> list[recognize.Target]:
    """The targets that a module of one's own may be; the entry has the inputs that `__call__` takes alone."""
    made = flax_module(module)
    plain = call.method is None and not (isinstance(made, nn.Module) and call.arguments(made)[1])
    entry = Entry(type(made).__name__, 0, inputs=tuple(call.inputs) if plain else ())
    return [
        recognize.Target(entry=entry, module=made, inspection=inspection, layouts=(names or (),))
        for inspection in inspections(module, call)
    ]


def _named(
    tensors: Tensors, entry: Entry, names: NamesAndRules | None, leeway: Leeway, config: Config
) -> tuple[recognize.Target, Fit]:
    """The entry's target with its classes and channels, or with those of the checkpoint where these fit."""
    target = recognize.target(entry, names=names, config=config)
    fit, used = target.fit(tensors, *leeway)
    if not fit.problems:
        return replace(target, layouts=(used,)), fit
    if found := recognize.adapted(tensors, entry, names, leeway, config):
        return found
    raise _refusal(tensors, target, fit, used, leeway)


def _refusal(
    tensors: Tensors,
    target: recognize.Target,
    fit: Fit,
    used: NamesAndRules,
    leeway: Leeway,
    hint: str = "",
) -> ConversionError:
    error = conversion_error(
        fit, target.module, lambda more: best_fit(target.inspection, tensors, [*used, *more], (), *leeway)
    )
    other = recognize.similar_entry(tensors)
    if other and other != target.entry.name:
        hint = f"it looks like {other!r}"
    return ConversionError(f"{error}\n{hint}", error.draft) if hint else error


def _of_target(
    source: Path, target: recognize.Target, fit: Fit, module: OwnModule | None, call: Call | None
) -> Plan:
    """The plan of a module that fits; `module` is one's own, and `call` that of it."""
    own = () if module is None else (*doubts(fit), *own_module.doubts(module, fit.links))
    notes = (*fit.notes, *target.notes, *target.doubts, *own)
    conversion = _conversion(
        fit,
        notes,
        target.module if module is None else module,
        target.entry,
        None if module is None else call,
    )
    return Plan(
        entry=_described(target.entry, conversion, source),
        module=target.module,
        conversion=conversion,
        names=target.layouts[0],
    )


def _conversion(
    fit: Fit, notes: tuple[str, ...], module: OwnModule, entry: Entry, call: Call | None
) -> Conversion:
    initialize = initializer(module, call or Call(inputs=entry.inputs))
    return Conversion.of(fit, notes=notes, initialize=initialize)


def _described(entry: Entry, conversion: Conversion, source: Path) -> Entry:
    """Describes converted weights: not whose they are, nor how good."""
    arrays = (*(array for link in conversion.links for array in link.arrays), *conversion.initial)
    return replace(
        entry,
        num_params=sum(math.prod(array.shape) for array in arrays if array.path[0] == "params"),
        weights=None,
        layout=None,
        license=None,
        source=f"zoo convert {source.name!a}",
        metrics=FrozenMapping(),
    )
