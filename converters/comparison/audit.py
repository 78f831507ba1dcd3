"""Differences that equal outputs may hide: other arrays, other ways to train."""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converters.comparison.calls import double
from converters.comparison.match_calls import Compared
from converters.comparison.report import Finding, Row, difference
from converters.comparison.runner import Runner
from converters.inspection import Inspection, Path
from converters.matching.draft import make_draft
from converters.matching.fit import Fit
from converters.matching.links import Link, Names
from converters.matching.rules import Rule
from converters.matching.search import NamesAndRules, best_fit
from converters.tensors import StateDict


class TorchTensors(StateDict):
    """A torch module's state dict, which knows what is tied."""

    def __init__(self, model: Any) -> None:
        tensors = model.state_dict(keep_vars=True)  # parameters themselves: the same one under all its names
        super().__init__(tensors)
        first: dict[int, str] = {}
        self.aliases = {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}


def fitted(
    inspection: Inspection,
    tensors: TorchTensors,
    names: NamesAndRules,
    rules: Sequence[Rule],
    ignore: Sequence[str],
) -> tuple[Fit, Names, list[Finding]]:
    """Fits a torch module's tensors to a module.

    Returns:
        The fit, the names pairs with which it was found, and the draft of more of them, where names differ.
    """

    def attempt(more: NamesAndRules = ()) -> Fit:
        return best_fit(inspection, tensors, [*names, *more], rules, ignore)

    fit = attempt()
    draft = make_draft(fit, attempt) if fit.missing else None
    if draft is None:
        return fit, _pairs(names), []
    finding = Finding(layer="", setting="names", flax=str(draft))
    return attempt(draft.names), _pairs([*names, *draft.names]), [finding]


def _pairs(names: NamesAndRules) -> Names:
    return [name for name in names if isinstance(name, tuple)]


def unfit(fit: Fit, read: Container[str] | None) -> Iterator[Finding | str]:
    """Yields what of a state dict does not fit.

    Args:
        fit: The fit of the torch module's tensors.
        read: Tensors that PyTorch read; those that it did not may be left over. None if none may.
    """
    unread = [] if read is None else [name for name in fit.left_over if name not in read]
    expected = {f"left over  {name}" for name in unread}
    yield from (
        Finding(layer="", setting="state dict", flax=problem)
        for problem in fit.problems
        if problem not in expected
    )
    if unread:
        yield f"tensors that PyTorch's method does not read: {', '.join(unread)}"


def audit_arrays(fit: Fit, variables: Mapping[Path, Any]) -> tuple[dict[Path, np.ndarray], list[Finding]]:
    """Compares the arrays with the torch module's.

    Returns:
        Arrays in float64 to compute with, for those that conversion has computed and therefore rounded: of
        the two biases of a recurrent layer Flax has the sum in float32; PyTorch adds them in float64 here.
        And the arrays that are not what conversion makes.
    """
    exact: dict[Path, np.ndarray] = {}
    findings = []
    for link in _whole(fit):
        tensors = tuple(fit.tensors[name] for name in link.tensors)
        made = zip(link.arrays, link.to_flax(tensors), link.to_flax(tuple(map(double, tensors))), strict=True)
        for array, rounded, wide in made:
            mine, wanted = double(variables[array.path]), double(rounded)
            if _same(mine, wide):
                continue
            if _same(mine, wanted):
                exact[array.path] = wide
            else:
                how = _how(mine, wanted, " and ".join(link.tensors))
                where = "/".join(array.path[1:-1])
                findings.append(Finding(layer=where, setting=array.path[-1], flax=how))
    return exact, findings


def _whole(fit: Fit) -> Iterator[Link]:
    """Yields the links whose tensors are there, in the shapes that they want."""
    shapes = fit.tensors.shapes
    for link in fit.links:
        wanted = zip(link.tensors, link.shapes, strict=True)
        if all(name in shapes and shape in (None, shapes[name]) for name, shape in wanted):
            yield link


def _same(mine: np.ndarray, theirs: np.ndarray) -> bool:
    return np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")


def _how(mine: np.ndarray, theirs: np.ndarray, tensors: str) -> str:
    """Says in which way an array is another; a square kernel fits transposed as well."""
    for first in range(mine.ndim):
        for second in range(first):
            swapped = np.swapaxes(theirs, first, second)
            if np.array_equal(mine, swapped):
                return f"{tensors} with axes {second} and {first} swapped"
    return f"off from {tensors} by up to {difference(mine, theirs).absolute:.1e}"


def audit_settings(
    compared: Sequence[Compared], rows: Sequence[Row], tolerance: float
) -> Iterator[Finding | str]:
    """Yields the settings of layers that differ and that outputs show.

    One does not count where outputs agree in spite of other inputs: then the model does it beside the layer,
    as with padding by a function before it.
    """
    found: list[Finding | str] = []
    for each, row in zip(compared, rows, strict=True):
        same_inputs = row.inputs is not None and row.inputs.relative <= tolerance
        same_output = row.output is not None and row.output.relative <= tolerance
        beside = bool(row.agrees_again) or (same_output and not same_inputs)
        said = "the numbers agree, done beside the layer"
        found += [f"{setting}; {said}" for setting in each.settings] if beside else each.settings
    yield from dict.fromkeys(found)


def audit_output(output: Compared) -> Iterator[Finding | str]:
    """Yields what makes a comparison of whole outputs less than it seems."""
    mine, theirs = output.flax.outputs, output.torch.outputs
    if len(mine) != len(theirs):
        yield f"outputs: {len(mine)} here, {len(theirs)} in PyTorch; only the first ones were compared"
    if "reshaped" in output.row.arrangement:
        shapes = [" ".join(str(array.shape) for array in arrays) for arrays in (mine, theirs)]
        yield f"output: of shape {shapes[0]} here, {shapes[1]} in PyTorch"
    numbers = [array for array in theirs[: len(mine)] if array.size]
    if numbers and not any(np.isfinite(array).any() for array in numbers):
        yield Finding(layer="", setting="output", flax="no finite number; nothing was compared")


def audit_training(layers: Mapping[Path, Any], runner: Runner) -> Iterator[Finding | str]:
    """Yields settings of Flax alone that make it train otherwise than PyTorch."""
    plain = []
    for path, layer in layers.items():
        if getattr(layer, "use_fast_variance", False):
            yield Finding(layer="/".join(path), setting="use_fast_variance", flax="True", torch="False")
        if runner.has_biased_variance(layer):
            plain.append("/".join(path))
    if plain:
        yield f"training: the running variance is biased here, unbiased in PyTorch: {', '.join(plain)}"
