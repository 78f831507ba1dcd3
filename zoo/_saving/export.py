"""A model's weights as PyTorch keeps them: what `zoo export` writes, and `zoo.to_torch`."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import numpy as np

from converters import read_checkpoint, read_names, write_checkpoint
from converters import to_torch as tensors_of
from converters.formats import are_flax
from converters.matching import NamesAndRules
from converters.tensors import Tensors
from zoo._errors import ZooError
from zoo._loading import recognize, weights
from zoo._loading.build import build
from zoo._loading.given import Given, model_of
from zoo._loading.load import pretrained_arrays
from zoo._loading.located import Located
from zoo._loading.own_nnx import filled
from zoo._loading.resolve import resolve
from zoo._registry import families, manifest
from zoo._registry.entry import Entry
from zoo._saving import transformers_folder
from zoo._saving.call import NAMES, Call
from zoo._saving.call import read as read_call
from zoo._saving.own_module import OwnModule, flax_module
from zoo._saving.plan import own_targets
from zoo._variables.tree import flatten, unflatten


def to_torch(
    model: Given, *, layout: str | None = None, like: str | os.PathLike[str] | None = None
) -> dict[str, np.ndarray]:
    """Returns a model's variables as a PyTorch state dict; `converters.write_checkpoint` writes it.

    Args:
        model: A name, as for `load`, or a model, of one of the zoo's architectures. For a module of your own,
            use `converters.to_torch`.
        layout: Whose names the tensors have, of those that the architecture knows, such as "timm"; by default
            those of its own library.
        like: A checkpoint of the same architecture, whose names, order, counters and prefixes the result has.

    Raises:
        ZooError: the model is of none of the zoo's architectures.
        ConversionError: `like` does not fit.
    """
    model = model_of(model)
    if model.entry is None or model.entry.family is None:
        raise ZooError(f"{model} is a module of your own; converters.to_torch takes it with example inputs.")
    tensors = None if like is None else read_checkpoint(like)
    return _state_dict(model.variables, model.module, model.entry, layout=layout, like=tensors)


def export(
    name: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    like: str | os.PathLike[str] | None = None,
    layout: str | None = None,
    module: OwnModule | None = None,
    call: Call | None = None,
    names: NamesAndRules | None = None,
    ignore: Sequence[str] = (),
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
        ignore: Regular expressions for whole names of tensors of `like` that the model has no arrays for;
            they come back, too.
        overwrite: Replaces what is there.

    Raises:
        WeightsError: the weights cannot be read.
        ConversionError: `like` does not fit.
    """
    located, built, arrays = _model(name, module)
    if located.directory is not None:
        # With `like`, the zoo's architectures have those of their layouts that fit; other modules have none.
        if names is None and layout is None and (like is None or module is not None):
            kept = located.directory / NAMES
            names = read_names(kept) if kept.is_file() else None
        if call is None and module is not None:
            call = read_call(located.directory)
    state_dict = _state_dict(
        unflatten(arrays),
        built,
        located.entry if module is None else replace(located.entry, family=None),
        layout=layout,
        like=_original(located, like),
        call=call,
        names=names,
        ignore=ignore,
    )
    write_checkpoint(state_dict, out, overwrite=overwrite)


def _state_dict(
    variables: Any,
    module: OwnModule,
    entry: Entry,
    *,
    layout: str | None,
    like: Tensors | None,
    call: Call | None = None,
    names: NamesAndRules | None = None,
    ignore: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Returns the tensors of a model of the zoo, or of a module of one's own, whose entry has no family."""
    call = call or Call(inputs=entry.inputs)
    if layout is not None:
        entry = replace(entry, layout=layout)
    if like is not None:
        own = entry.family is None
        target = own_targets(module, call, names)[0] if own else recognize.target(entry, names=names)
        names, ignore = target.fit(like, ignore)[1], (*ignore, *target.allowed)
    elif names is None and entry.family is not None:
        names = _names(flax_module(module), entry)
    if not isinstance(module, nn.Module):
        made = filled(flatten(variables), module)
        return tensors_of(made, like=like, names=names or (), ignore=ignore)
    args, kwargs = call.arguments(module)
    return tensors_of(
        variables,
        module,
        *args,
        kwargs=kwargs,
        method=call.method,
        like=like,
        names=names or (),
        ignore=ignore,
    )


def _names(module: nn.Module, entry: Entry) -> NamesAndRules:
    """Returns the names pairs and rules of the entry's layout, or of that of the most similar entry."""
    known = families.torch_names(entry)
    layout = entry.layout or _usual_layout(entry)
    if layout == families.ANY:
        try:
            layout = transformers_folder.layout_of(module, entry)
        except ZooError:  # transformers has no such class
            layout = next(iter(known))
    return known[layout] if layout else next(iter(known.values()), ())


def _usual_layout(entry: Entry) -> str | None:
    config = {*entry.config.items()}
    others = [each for each in manifest.read().models.values() if each.family == entry.family and each.layout]
    nearest = min(others, key=lambda each: len(config ^ {*each.config.items()}), default=None)
    return nearest.layout if nearest else None


def _original(located: Located, like: str | os.PathLike[str] | None) -> Tensors | None:
    """The tensors whose names, order and extras come back: those of `like`, or the repository's own."""
    if like is not None:
        return read_checkpoint(like)
    return weights.read(located) if located.entry.layout == families.ANY else None


def _model(
    name: str | os.PathLike[str], module: OwnModule | None
) -> tuple[Located, OwnModule, dict[str, Any]]:
    """A model, its module and arrays; the entry of a bare file is recognised by its paths and shapes."""
    if not os.fspath(name).endswith(".safetensors"):
        located = resolve(name)
        if module is None or isinstance(module, nn.Module):
            return located, *pretrained_arrays(located, module)
        return located, module, dict(weights.read(located))
    arrays = read_checkpoint(name)
    if not are_flax(arrays):
        raise ZooError(f"{os.fspath(name)!r} holds PyTorch tensors already, such as {next(iter(arrays))!r}.")
    if module is not None:
        return Located(entry=Entry(type(flax_module(module)).__name__, 0)), module, dict(arrays)
    entry = recognize.entry_of_variables(arrays)
    return Located(entry=entry), build(entry)[0], dict(arrays)
