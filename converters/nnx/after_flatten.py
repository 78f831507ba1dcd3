"""Finds the layers of an NNX module that may read a flattened map, which only a run could tell for sure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flax import nnx

from converters.inspection import Path
from converters.matching import Link


def after_flatten(layers: Mapping[Path, Any], links: Sequence[Link]) -> Iterator[str]:
    """Yields a sentence for each weight whose inputs may be a map, flattened with its channels last.

    It is that of a `Linear` that reads a multiple of a convolution's features, and of which no other layer
    makes as many; a rule about the weight, such as `Unflatten` or `Keep`, settles it.

    Args:
        layers: Modules by path.
        links: Links of the module with the state dict.
    """
    kinds = (nnx.Conv, nnx.ConvTranspose)
    features = [layer.out_features for layer in layers.values() if isinstance(layer, kinds)]
    made = {layer.out_features for layer in layers.values() if isinstance(layer, nnx.Linear)}
    for link in links:
        layer = layers.get(link.arrays[0].path[1:-1])
        if link.settled or not isinstance(layer, nnx.Linear) or link.arrays[0].path[-1] != "kernel":
            continue
        width = layer.in_features
        channels = next((c for c in reversed(features) if width % c == 0 and width > c), None)
        if channels is None or width in made:
            continue
        name = link.tensors[0]
        yield (
            f"{name} reads {width} values, perhaps a map of {channels} channels and {width // channels} "
            "places, which PyTorch flattens with the channels first and Flax with the channels last: if so, "
            f"pass rules=[converters.Unflatten({name!r}, ({channels}, height, width))], "
            f"else [converters.Keep({name!r})]"
        )
