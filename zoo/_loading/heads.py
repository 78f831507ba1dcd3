"""Published weights for another number of classes, or for images with other channels.

`num_classes=` may initialize the layers of the family's `head` and `neck`, `in_channels=` adapts its `stem`.
Everything else has to fit.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from inspect import signature
from itertools import chain
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from converters.checkpoints import Checkpoint
from converters.matching import Fit, Link, fit_links
from zoo._errors import WeightsError, ZooError
from zoo._loading.build import build
from zoo._loading.located import Located
from zoo._registry import families
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.family import is_named
from zoo._variables import init
from zoo._variables.casting import Array

Shapes = Mapping[str, jax.ShapeDtypeStruct]
_log = logging.getLogger("zoo")


def head_layers(entry: Entry | None) -> tuple[str, ...]:
    """The layers of the family's HEAD and NECK; none where it names none."""
    if entry is None or entry.family is None:
        return ()
    family = families.family(entry)
    return (*family.head, *family.neck)


def head(entry: Entry, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers that `num_classes`, if given, makes anew where the weights have other ones."""
    return head_layers(entry) if "num_classes" in config else ()


def completed(entry: Entry, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the head that `num_classes` asks for, where the entry's own has no classes."""
    family = families.named(entry.family)
    if "num_classes" in config and "head" not in config and family and family.classifying:
        own = entry.config.get("head")
        return {**config, **({} if own in family.classifying else family.classifier)}
    return dict(config)


def as_in_file(
    located: Located, tensors: Checkpoint, *, chosen: bool = False
) -> tuple[Located, tuple[str, ...]]:
    """Returns the model that a file of the Hub has tensors for, and notes about what its config says else.

    Args:
        located: The model as its config says.
        tensors: Those of the file.
        chosen: If true, the caller chooses the head.
    """
    found, notes = untied(located, tensors)
    if chosen:
        return found, notes
    found, more = without_missing(found, tensors)
    return found, (*notes, *more)


def without_missing(located: Located, tensors: Iterable[str]) -> tuple[Located, tuple[str, ...]]:
    """Returns the model with the head that a file of the Hub has tensors for, and a note if it is another.

    transformers would give the missing layers random weights.
    """
    entry = located.entry
    own, family = str(entry.config.get("head")), families.named(entry.family)
    if located.counted or family is None or own not in family.headless:
        return located, ()
    pattern, other = family.headless[own]
    if any(re.fullmatch(pattern, name) for name in tensors):
        return located, ()
    adapted = replace(entry, config=FrozenMapping({**entry.config, "head": other}))
    return replace(located, entry=adapted), (f"the file has no {own}: the head is {other!r}",)


def untied(located: Located, tensors: Checkpoint) -> tuple[Located, tuple[str, ...]]:
    """Returns the model whose tensors are tied only where those of a file of the Hub are, and notes.

    transformers decides by the file, too; what it saves says that they are tied, whether they are or not.
    """
    entry, notes = located.entry, list[str]()
    family = families.named(entry.family)
    if family is None or located.counted:
        return located, ()
    for end, keywords in family.untied.items():
        own, other = (
            next((name for name in tensors if is_named(name, each)), None) for each in (end, family.tied[end])
        )
        tied = own is None or other is None or tensors.are_equal(own, other)
        if not tied and not entry.config.items() >= keywords.items():
            entry = replace(entry, config=FrozenMapping({**entry.config, **keywords}))
            said = ", ".join(f"{keyword}={value!r}" for keyword, value in keywords.items())
            notes.append(f"{own} is not {other}: {said}")
    return replace(located, entry=entry), tuple(notes)


def check_effect(entry: Entry, config: Mapping[str, Any]) -> None:
    """Checks that `num_classes`, if given in a completed config, is a number of logits.

    Raises:
        ZooError: its head has no classes.
    """
    if "num_classes" not in config or entry.family is None:
        return
    classifying = families.family(entry).classifying
    chosen = config.get("head", entry.config.get("head"))
    if classifying and chosen not in classifying:
        raise ZooError(
            f"num_classes={config['num_classes']} has no effect on the head {chosen!r} of {entry.name!r}; "
            f"add head=, one of {', '.join(map(repr, classifying))}."
        )


class OtherHead(NamedTuple):
    """Differences of a chosen head from the one that the weights are for.

    Attributes:
        own: The weights' own head.
        whole: The module with that head.
        shared: The layers of the family's HEAD that both have: of a classifier of tokens, for example, whose
            tensors have the names and perhaps the shapes of one of texts.
        unneeded: The layers that only the weights' own head has.
    """

    own: str
    whole: nn.Module
    shared: tuple[str, ...]
    unneeded: tuple[str, ...]


def other_head(entry: Entry, config: Mapping[str, Any]) -> OtherHead | None:
    """Returns how the chosen head differs; None where it is the weights' own, or the family has no choice.

    Raises:
        WeightsError: the chosen head needs layers of the other one, and nothing allows to initialize them.
    """
    chosen = config.get("head")
    if chosen is None or entry.family is None:
        return None
    keyword = signature(families.family(entry).create).parameters.get("head")
    own = entry.config.get("head", keyword.default) if keyword else None
    if own in (None, chosen):
        return None
    (whole, theirs), (_, ours) = (_with_layers(entry, {**config, "head": head}) for head in (own, chosen))
    shared = tuple(layer for layer in families.family(entry).head if layer in theirs & ours)
    if shared and "num_classes" not in config:
        raise WeightsError(
            f"{entry.name!r} has weights for the head {own!r}, which are none for {chosen!r}; "
            "with num_classes= a new head is initialised."
        )
    return OtherHead(own=own, whole=whole, shared=shared, unneeded=tuple(sorted(theirs - ours)))


def _with_layers(entry: Entry, config: Mapping[str, Any]) -> tuple[nn.Module, set[str]]:
    module, described = build(entry, config=config)
    return module, {path.split("/")[1] for path in init.shapes(module, described.inputs)}


def without_head(
    found: Fit, names: tuple[str, ...], ignore: tuple[str, ...], others: tuple[str, ...] = ()
) -> Fit:
    """The fit without the head's arrays that the state dict has no tensors for, or others.

    Args:
        found: The fit of all.
        names: Layers of the head.
        ignore: Regular expressions for tensors that may be left over.
        others: Layers whose tensors are of another head.
    """

    def fits(link: Link) -> bool:
        shapes = found.tensors.shapes
        each = zip(link.tensors, link.shapes, strict=True)
        if all(array.path[1] in others for array in link.arrays):
            return False
        return not all(array.path[1] in names for array in link.arrays) or all(
            name in shapes and shape in (None, shapes[name]) for name, shape in each
        )

    kept = [
        replace(link, tensors=tuple(name.removeprefix(found.prefix) for name in link.tensors))
        for link in found.links
        if fits(link)
    ]
    return found if len(kept) == len(found.links) else fit_links(kept, found.tensors, found.prefix, ignore)


def drop_mismatched(
    arrays: Mapping[str, Any], shapes: Shapes, names: tuple[str, ...], other: OtherHead | None = None
) -> tuple[dict[str, Any], dict[str, jax.ShapeDtypeStruct], tuple[str, ...]]:
    """Both without the head's arrays that are not the same in both, or are of another head; and a note."""
    unneeded = other.unneeded if other else ()
    others = (*other.shared, *unneeded) if other else ()
    dropped = {
        path
        for path in chain(arrays, shapes)
        if path.split("/")[1] in others
        or (
            path.split("/")[1] in names
            and not (path in arrays and path in shapes and arrays[path].shape == shapes[path].shape)
        )
    }
    note = f"left out the layers of the head {other.own!r}: {', '.join(unneeded)}" if other else ""
    return (
        {path: array for path, array in arrays.items() if path not in dropped},
        {path: shape for path, shape in shapes.items() if path not in dropped},
        (note,) if unneeded else (),
    )


def log_new(name: str, new: Mapping[str, jax.Array], *, aloud: bool) -> tuple[str, ...]:
    """Says which arrays are new, if any: as a note, and aloud in the log, too."""
    if not new:
        return ()
    note = "initialised anew: " + ", ".join(f"{path} {array.shape}" for path, array in new.items())
    _log.log(logging.WARNING if aloud else logging.INFO, "%s: %s", name, note)
    return (note,)


def weights_config(entry: Entry, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what `adapt_stem` does afterwards: the module of the file itself."""
    has_stem = bool(entry.family and families.family(entry).stem)
    return {keyword: value for keyword, value in config.items() if keyword != "in_channels" or not has_stem}


def adapt_stem(entry: Entry, arrays: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """The arrays with the first kernel for images of other channels, as timm makes it.

    For one channel it is summed over those that there are: grey images then give what they gave as red, green
    and blue. For others they are repeated, and scaled so that the sum stays.
    """
    kernels = {f"params/{name}/kernel" for name in families.family(entry).stem} & arrays.keys()
    return {path: _over(array, channels) if path in kernels else array for path, array in arrays.items()}


def _over(kernel: Array, channels: int) -> Array:
    before = kernel.shape[-2]
    if channels == before:
        return kernel
    wide = np.asarray(kernel).astype(np.float64)
    if channels == 1:
        made = wide.sum(-2, keepdims=True)
    else:
        made = wide[..., np.arange(channels) % before, :] * (before / channels)
    narrow: Array = made.astype(kernel.dtype)
    return narrow
