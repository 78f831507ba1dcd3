"""Tells differences inside a model that are none of the model: the numbers agree again after them."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from converters.comparison.align import Axes
from converters.comparison.match_calls import Compared
from converters.comparison.report import Row

MARGIN = 10  # times the tolerance that a difference must have amounted to, to be sure that it would be seen


def reconciled(compared: Sequence[Compared], output: Compared, axes: Axes) -> Iterator[Row]:
    """Yields the rows; those whose outputs differ, but not what comes of them, say where they agree again.

    A torch layer may do more or less than the Flax layer of its name: an activation inside, channels in
    another order, a scale. Then the model as a whole still computes the same. What proves it: PyTorch's
    gradients say how much a later value would differ if the difference went on to it, and that value agrees.
    A layer that a later one multiplies by zero proves nothing, and still diverges.
    """
    settled = True  # after the first real difference, the others follow from it
    for index, each in enumerate(compared):
        row = each.row
        if settled and not _agree(row.output, axes):
            later = (*compared[index + 1 :], output)
            again = next((name for other in later for name in _agreement(each, other, axes)), "")
            row, settled = replace(row, agrees_again=again), bool(again)
        yield row


def _agree(difference: Any, axes: Axes) -> bool:
    return difference is None or difference.relative <= axes.tolerance


def _agreement(source: Compared, later: Compared, axes: Axes) -> Iterator[str]:
    """Yields the later layer's name if it takes or gives the same numbers in spite of the source."""
    name = later.row.layer or "the output"
    for difference, tensors in (
        (later.row.inputs, later.torch.taken),
        (later.row.output, later.torch.given),
    ):
        agrees = difference is not None and difference.relative <= axes.tolerance
        if agrees and any(_would_show(source, tensor, axes) for tensor in tensors):
            yield name


def _would_show(source: Compared, target: Any, axes: Axes) -> bool:
    """Returns whether the difference of a layer's outputs would change a later tensor beyond tolerance."""
    torch = sys.modules["torch"]
    given = [tensor for tensor in source.torch.given if tensor.requires_grad]
    if not given or not target.requires_grad:
        return False
    values = target.detach()
    # The change's product with random signs: a root of their number, where changes are within tolerance.
    signs = torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], tuple(values.shape)))
    try:
        gradients = torch.autograd.grad(
            target, given, signs.to(values.dtype), retain_graph=True, allow_unused=True
        )
    except RuntimeError:  # a layer wrote over what its gradient needs
        return False
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(given, gradients, strict=True)}
    calls = zip(source.flax.outputs, source.torch.outputs, source.torch.given, strict=False)
    change = sum(
        _change(mine, theirs, by_tensor[id(tensor)], source.twin, axes)
        for mine, theirs, tensor in calls
        if by_tensor.get(id(tensor)) is not None
    )
    scale = float(values.abs().max()) * math.sqrt(values.numel()) if values.numel() else 0.0
    return abs(change) > MARGIN * axes.tolerance * scale


def _change(mine: np.ndarray, theirs: np.ndarray, gradient: Any, twin: Any, axes: Axes) -> float:
    """Returns what a gradient makes of an output's difference; of all of it, where shapes do not fit."""
    slope = gradient.detach().numpy()
    found = axes.compare(mine, theirs, twin)
    if found is None:
        return float(np.abs(np.vdot(slope, theirs)))
    to_flax = found[0].to_flax
    return float(np.abs(np.vdot(to_flax(slope), mine - to_flax(theirs))))
