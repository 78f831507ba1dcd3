"""The stages of an architecture whose maps of features are outputs, as detectors and segmenters take them."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import accumulate
from operator import mul
from typing import Any, NamedTuple

import jax

from zoo._errors import ZooError
from zoo._nn.convolutions import run

HEADS = ("classification", "none", "maps")
CLASSIFIER, CLASSIFYING = {"head": "classification"}, ("classification",)


class Level(NamedTuple):
    """A map of features.

    Attributes:
        reduction: Side of the square of the image, in pixels, that one of the map's stands for.
        channels: Number of its channels.
    """

    reduction: int
    channels: int


def levels_of(strides: Iterable[int], channels: Iterable[int]) -> tuple[Level, ...]:
    """Returns the levels of maps, each made of the one before.

    Args:
        strides: By how much each is smaller than the one before, the first than the image.
        channels: Number of channels of each.
    """
    return tuple(Level(*each) for each in zip(accumulate(strides, mul), channels, strict=True))


def stage_indices(indices: Sequence[int] | None, names: Sequence[str] | None, count: int) -> tuple[int, ...]:
    """Returns the stages in their order, counted from the stem's 0; the last one where none are given.

    Args:
        indices: Indices, negative ones from the end.
        names: The same as transformers' names: "stem", "stage1", "stage2" ...
        count: Number of stages after the stem.

    Raises:
        ZooError: there is no such stage, or indices and names differ.
    """
    known = ["stem", *(f"stage{index}" for index in range(1, count + 1))]
    wrong: list[int | str] = [index for index in indices or () if not -count - 1 <= index <= count]
    wrong += [name for name in names or () if name not in known]
    if wrong:
        raise ZooError(
            f"no stage {wrong[0]!r}; out_indices are 0 for the stem to {count} for the last one, "
            f"out_features {known[0]!r} to {known[-1]!r}."
        )
    by_index = {index % (count + 1) for index in indices or ()}
    by_name = {known.index(name) for name in names or ()}
    if indices and names and by_index != by_name:
        raise ZooError(f"out_indices={indices} and out_features={names} differ; give one of them.")
    return tuple(sorted(by_index or by_name or {count}))


def maps_at(
    layers: Sequence[Any], x: jax.Array, places: Sequence[int], *, train: bool, whole: bool
) -> tuple[Any, ...]:
    """Runs layers in sequence, and returns the outputs of those at some indices, in their order.

    Args:
        layers: Layers and functions.
        x: (batch, height, width, channels)
        places: Indices of the layers whose outputs are returned.
        train: If true, layers run as in training: batch norms by the batch, dropout at random.
        whole: If false, layers after the last of these do not run. Initialization needs all of them, since
            files have their parameters.
    """
    maps = []
    for index, layer in enumerate(layers[: None if whole else max(places) + 1]):
        x = run(layer, x, train=train)
        maps += [x] if index in places else []
    return tuple(maps)


def pooled_maps(
    layers: Sequence[Any], x: jax.Array, indices: Sequence[int], *, train: bool, whole: bool
) -> tuple[Any, ...]:
    """Runs layers, and returns those of the maps before each pooling, and at the end, that have the indices.

    Args:
        layers: Layers and functions; a `partial` is a pooling.
        x: (batch, height, width, channels)
        indices: Indices of the maps to return.
        train, whole: As for `maps_at`.
    """
    ends = [place - 1 for place, layer in enumerate(layers) if isinstance(layer, partial)]
    ends.append(len(layers) - 1)
    return maps_at(layers, x, [ends[index] for index in indices], train=train, whole=whole)
