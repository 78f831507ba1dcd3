"""Comparison of the zoo's module for an entry with the same of another library, in float64."""

import gc

import jax
import numpy as np
import torch

import converters
from tests.equivalence import difference, randomise, state_dict
from tests.reference.published import without_buffers
from zoo._loading.build import build
from zoo._registry import families
from zoo._registry.entry import Entry


def differences(
    entry: Entry, twin: torch.nn.Module, images: np.ndarray, *, norms: float = 1.0
) -> tuple[float, float]:
    """Returns how far outputs are from the twin's, and two images' from each other, as parts of the largest.

    Args:
        entry: An entry; its module has random weights and statistics, the twin's.
        twin: The other library's module; tables that it computes keep their numbers.
        images: (2, height, width, channels); without a second part that counts, only biases are compared.
        norms: Size of the scales of norms; see `randomise`.
    """
    randomise(without_buffers(twin), norms=norms).eval()
    with torch.no_grad():
        theirs = twin(torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))).numpy()
    family = families.family(entry)
    module, _ = build(entry)
    with jax.enable_x64(True):
        names, ignore = family.torch_names[entry.layout], [*family.ignored]
        variables = converters.convert(state_dict(twin), module, images, names=names, ignore=ignore)
        ours = np.asarray(jax.jit(module.apply)(variables, images))
    jax.clear_caches()
    gc.collect()
    return difference(ours, theirs), difference(ours[:1], ours[1:])
