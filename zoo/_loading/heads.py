"""Published weights for another number of classes, or for images with other channels.

`num_classes=` may initialize the layers of the family's `head` and `neck`, `in_channels=` adapts its `stem`.
Everything else has to fit.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import jax
import numpy as np

from converters.matching import Fit, Link, fit_links
from zoo._registry import families
from zoo._registry.entry import Entry
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


def without_head(found: Fit, names: tuple[str, ...], ignore: tuple[str, ...]) -> Fit:
    """The fit without the head's arrays that the state dict has no tensors for, or others."""

    def fits(link: Link) -> bool:
        shapes = found.tensors.shapes
        each = zip(link.tensors, link.shapes, strict=True)
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
    arrays: Mapping[str, Any], shapes: Shapes, names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, jax.ShapeDtypeStruct]]:
    """Both without the head's arrays that are not the same in both."""
    other = {
        path
        for path in chain(arrays, shapes)
        if path.split("/")[1] in names
        and not (path in arrays and path in shapes and arrays[path].shape == shapes[path].shape)
    }
    return (
        {path: array for path, array in arrays.items() if path not in other},
        {path: shape for path, shape in shapes.items() if path not in other},
    )


def log_new(name: str, new: Mapping[str, jax.Array]) -> tuple[str, ...]:
    """Says which arrays are new, if any, in the log and as a note."""
    if not new:
        return ()
    note = "initialised anew: " + ", ".join(f"{path} {array.shape}" for path, array in new.items())
    _log.warning("%s: %s", name, note)
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
