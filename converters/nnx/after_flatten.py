"""Finds the layers of an NNX module that may read a flattened map, which only a run could tell for sure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flax import nnx

from converters.inspection import Path
from converters.matching import Link

CONVOLUTIONS = (nnx.Conv, nnx.ConvTranspose)
NORMS = (nnx.BatchNorm, nnx.InstanceNorm, nnx.LayerNorm)


def after_flatten(layers: Mapping[Path, Any], links: Sequence[Link]) -> Iterator[str]:
    """Yields a sentence for each weight whose inputs may be a map, flattened with its channels last.

    It is that of a `Linear` that reads a multiple of a convolution's features, of which no other `Linear`
    makes as many, nor the convolution or norm that was defined last before it.

    Args:
        layers: Modules by path, in the order of their definition.
        links: Links of the module with the state dict.
    """
    features = [layer.out_features for layer in layers.values() if isinstance(layer, CONVOLUTIONS)]
    made = {layer.out_features for layer in layers.values() if isinstance(layer, nnx.Linear)}
    before = dict(zip(layers, _channels(layers.values()), strict=True))
    for link in links:
        path = link.arrays[0].path[1:-1]
        layer = layers.get(path)
        if link.settled or not isinstance(layer, nnx.Linear) or link.arrays[0].path[-1] != "kernel":
            continue
        width = layer.in_features
        channels = next((c for c in reversed(features) if width % c == 0 and width > c), None)
        if channels is None or width in made or width == before[path]:
            continue
        name = link.tensors[0]
        yield (
            f"{name} reads {width} values, perhaps a map of {channels} channels and {width // channels} "
            "places, which PyTorch flattens with the channels first and Flax with the channels last: if so, "
            f"pass rules=[converters.Unflatten({name!r}, ({channels}, height, width))], "
            f"else [converters.Keep({name!r})]"
        )


def _channels(layers: Iterable[Any]) -> Iterator[int | None]:
    """Yields, for each layer, how many channels there are where it is defined; None where nothing says so."""
    channels = None
    for layer in layers:
        yield channels
        if isinstance(layer, CONVOLUTIONS):
            channels = layer.out_features
        elif isinstance(layer, NORMS):
            channels = layer.num_features
