"""Merges an adapter into the weights of its base model."""

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from converters.matching import Link
from zoo._adapters import files, places
from zoo._adapters.changes import Changes, changes
from zoo._adapters.places import Place
from zoo._errors import WeightsError
from zoo._hub.settings import Token
from zoo._loading.given import Given, model_of
from zoo._model import Model, record_of
from zoo._registry import families
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.family import Ends, is_named
from zoo._variables.casting import check_width
from zoo._variables.tree import flatten, unflatten

TOKEN_TASKS = ("text-generation", "fill-mask", "text2text-generation")  # whose logits are of tokens


def merge_adapter(
    model: Given, adapter: str | os.PathLike[str], *, revision: str | None = None, token: Token = None
) -> Model:
    """Returns the model with the weights that an adapter of PEFT makes of its own.

    LoRA, rsLoRA and DoRA, for dense layers, convolutions and embeddings, and layers that were trained whole
    beside them (`modules_to_save`). Outputs are those of PEFT, merged or not, but for rounding: each weight
    is computed in float64 and rounded once to its dtype. What the model was before stays as it is.

    Args:
        model: The base model, with the head that the adapter was trained with; a name is loaded with its
            weights.
        adapter: A directory with adapter_config.json and adapter_model.safetensors (or .bin), as PEFT's
            `save_pretrained` writes it; or a repository of the Hub with these, `hf://owner/name`.
        revision: Revision of a repository: a commit, branch or tag.
        token: For the Hub: a token of yours, or False for none; by default that of your login, if any.

    Examples:
        >>> model = zoo.load("hf://openai-community/gpt2", pretrained=True)
        >>> model = zoo.merge_adapter(model, "./my-adapter")

    Raises:
        WeightsError: the adapter cannot be read, or is for other shapes.
        ManifestError: it is of a kind that the zoo has not: of another type than LoRA, or of copied layers.
        ZooError: the model lacks layers that it changes.
    """
    model = model_of(model)
    entry, read = record_of(model), files.read(adapter, revision, token)
    wanted = changes(read.name, read.config, read.tensors)
    known = places.layouts(model)
    tied = _tied(entry, {name for layout in known.values() for name in layout})
    wanted = replace(wanted, whole=_untied(read.name, tied, wanted.whole))
    found = places.found(entry, known, wanted.names)
    _check_heads(read.name, model, tied, wanted)
    arrays = flatten(model.variables)
    made: dict[str, Any] = {}
    for link, names in _by_link(found).items():
        values = tuple(np.asarray(arrays[str(array)]) for array in link.arrays)
        merged = _merged(read.name, values, names, wanted)
        check_width({str(array): value for array, value in zip(link.arrays, merged, strict=True)})
        for array, value in zip(link.arrays, merged, strict=True):
            made[str(array)] = _placed(value, arrays[str(array)])
    initialized = tuple(path for path in model.origin.initialized if path not in made)
    origin = replace(model.origin, initialized=initialized)
    located = model.origin.located
    record = replace(
        entry,
        weights=None,
        layout=None,
        metrics=FrozenMapping(),
        source=f"zoo.merge_adapter of {Path(read.name).name}",
        base_model=located.public_name if located else entry.base_model,
    )
    return Model(model.module, unflatten({**arrays, **made}), record, model.notes, origin)


def _by_link(found: Mapping[str, Place]) -> dict[Link, dict[str, Place]]:
    links: dict[Link, dict[str, Place]] = {}
    for name, place in found.items():
        links.setdefault(place.link, {})[name] = place
    return links


def _merged(
    adapter: str, values: tuple[np.ndarray, ...], names: Mapping[str, Place], wanted: Changes
) -> tuple[np.ndarray, ...]:
    """Returns the arrays of a link with the changes of its tensors."""
    link = next(iter(names.values())).link
    tensors = [*link.to_torch(values)]
    for name, place in names.items():
        tensor = tensors[place.index]
        try:
            tensors[place.index] = _changed(name, place, tensor, wanted)
        except WeightsError as error:
            raise WeightsError(f"{adapter!r} does not fit the model: {name}: {error}.") from None
    return link.to_flax(tuple(tensors))


def _changed(name: str, place: Place, tensor: np.ndarray, wanted: Changes) -> np.ndarray:
    """Returns a tensor with what an adapter makes of it."""
    whole = wanted.whole.get(name)
    if whole is not None:
        if whole.shape != tensor.shape:
            raise WeightsError(f"a tensor {whole.shape} for one {tensor.shape}")
        tensor = whole.astype(tensor.dtype)
    if name in wanted.factors:
        tensor = wanted.factors[name].applied(tensor, inputs_first=place.inputs_first)
    if name in wanted.added:
        tensor = (tensor.astype(np.float64) + wanted.added[name]).astype(tensor.dtype)
    return tensor


def _tied(entry: Entry, known: Collection[str]) -> dict[str, Ends]:
    """Returns the family's tied tensors that a model does not have apart, each with the other one's end."""
    tied = families.family(entry).tied if entry.family else {}
    apart = {end for end in tied if any(is_named(name, end) for name in known)}
    return {end: owner for end, owner in tied.items() if end not in apart}


def _untied(name: str, tied: Mapping[str, Ends], whole: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the tensors without those that the model has once, under another name.

    Raises:
        WeightsError: they differ from that one.
    """
    kept = dict(whole)
    for end, owner in tied.items():
        for each in [key for key in kept if is_named(key, end)]:
            others = [key for key in kept if is_named(key, owner)]
            if not others or not np.array_equal(kept[each], kept[others[0]]):
                raise WeightsError(
                    f"{name!r} trained {each} apart from {owner}; the zoo has models only in which "
                    "they are one."
                )
            del kept[each]
    return kept


def _check_heads(name: str, model: Model, tied: Mapping[str, Ends], wanted: Changes) -> None:
    """Checks that no embedding changes that is the head's matrix, too: PEFT trains it in one of its places.

    Raises:
        WeightsError: one does.
    """
    family = families.family(record_of(model))
    if family.tasks.get(str(getattr(model.module, "head", None))) not in TOKEN_TASKS:
        return
    for owner in tied.values():
        for each in wanted.factors:
            if is_named(each, owner):
                raise WeightsError(
                    f"{name!r} has low-rank matrices for {each} alone, which is the matrix of the head, too, "
                    "and not changed there: the model that was trained has no merged weights."
                )


def _placed(value: np.ndarray, like: Any) -> Any:
    """Returns an array of the other's dtype, where that is."""
    made = np.ascontiguousarray(value)
    return jax.device_put(made, like.sharding) if isinstance(like, jax.Array) else made
