"""The tensors of a PyTorch file for the arrays of a module: by its layout, and by what its family allows.

The family's `ignored`, `replaced_head` and `tied` say which tensors may be left over; all are noted, none is
silently dropped.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from converters.checkpoints import Checkpoint, as_tensors
from converters.inspection import Inspection
from converters.linen import inspect_module
from converters.matching import (
    Conversion,
    Fit,
    NamesAndRules,
    as_patterns,
    best_fit,
    conversion_error,
    fewest_problems,
)
from converters.tensors import Tensors, notes_of
from zoo._errors import WeightsError
from zoo._loading.heads import OtherHead, without_head
from zoo._registry import families
from zoo._registry.entry import Entry, Input
from zoo._registry.family import Ends, is_named
from zoo._variables import init
from zoo._variables.traced import is_pure, remembered

_OTHER = "the other head"
# Arrays that files may lack: their initial values are the right ones, whatever the seed.
CONSTANTS = r"constants/.*"


class Leeway(NamedTuple):
    """Differences between weights and a module that the caller allows, as regular expressions.

    Attributes:
        ignore: Whole names of tensors, or paths of arrays, that may be left over.
        missing: Whole names of tensors, or paths of arrays, that may be missing.
    """

    ignore: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, ignore: str | Sequence[str], missing: str | Sequence[str]) -> "Leeway":
        """Returns the leeway that a caller writes.

        Raises:
            ConversionError: something is no regular expression.
        """
        return cls(as_patterns("ignore", ignore), as_patterns("missing", missing))

    def applied(
        self, arrays: Mapping[str, Any], shapes: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns Flax arrays and a module's shapes without what either may have alone."""

        def alone(path: str, other: Mapping[str, Any], patterns: tuple[str, ...]) -> bool:
            return path not in other and any(re.fullmatch(pattern, path) for pattern in patterns)

        return (
            {path: each for path, each in arrays.items() if not alone(path, shapes, self.ignore)},
            {path: each for path, each in shapes.items() if not alone(path, arrays, self.missing)},
        )


NO_LEEWAY = Leeway()


class Fitted(NamedTuple):
    """A fit of tensors and a module, and what is known about it.

    Attributes:
        fit: Which tensors make which arrays.
        notes: Sentences about it.
        names: Names pairs and rules of the tensors' layout.
        lacking: Paths of constants that the tensors do not make.
    """

    fit: Fit
    notes: tuple[str, ...]
    names: NamesAndRules
    lacking: frozenset[str] = frozenset()

    @property
    def conversion(self) -> Conversion:
        """Which tensors make which arrays."""
        return Conversion.of(self.fit, notes=self.notes)


def fitted(
    entry: Entry,
    source: Mapping[str, Any],
    module: nn.Module,
    head: tuple[str, ...] = (),
    other: OtherHead | None = None,
    leeway: Leeway = NO_LEEWAY,
) -> Fitted:
    """Finds which tensors make which arrays; reads none but tied ones.

    Args:
        entry: The entry of the weights.
        source: Their tensors.
        module: The module that they are for.
        head: Layers whose tensors need not fit.
        other: The weights' own head where it is not the module's: its tensors are left out.
        leeway: Tensors and arrays that may be left over or missing, too.

    Raises:
        ConversionError: they do not fit the module.
        WeightsError: tensors that should be tied differ.
    """
    tensors, layouts = as_tensors(source), _layouts(entry)
    inspection, unused = inspected(module, entry.inputs), _unused(entry, head)
    if other:
        spare = sorted({*_spare(entry, other.whole, inspection, tensors, layouts.values())})
        unused = {**unused, **dict.fromkeys(spare, _OTHER)}
    others = other.shared if other else ()
    allowed = (*_tied_names(entry), *unused, *leeway.ignore)
    missing = (*leeway.missing, CONSTANTS)

    def attempt(layout: str, more: NamesAndRules = ()) -> Fit:
        return best_fit(inspection, tensors, [*layouts[layout], *more], (), allowed, missing)

    def without_other_head(layout: str) -> Fit:
        found = attempt(layout)
        return without_head(found, head, allowed, others) if others or (found.problems and head) else found

    layout, fit = fewest_problems(layouts, without_other_head)
    if fit.problems:
        raise conversion_error(fit, module, partial(attempt, layout))
    chosen = [f"its names are of the layout {layout!r}"] if entry.layout == families.ANY else []
    notes = (*chosen, *_left_out(entry, fit, unused), *notes_of(fit.tensors))
    made = {str(array) for link in fit.links for array in link.arrays}
    constants = {str(array) for array in inspection.arrays if re.fullmatch(CONSTANTS, str(array))}
    return Fitted(fit, notes, layouts[layout], frozenset(constants - made))


def _layouts(entry: Entry) -> Mapping[str, NamesAndRules]:
    known = families.torch_names(entry)
    return known if entry.layout == families.ANY else {str(entry.layout): known[str(entry.layout)]}


def allowed_names(entry: Entry) -> tuple[str, ...]:
    """Regular expressions for the tensors that the family's files may hold beside those of its module."""
    return (*_tied_names(entry), *_unused(entry))


def _tied_names(entry: Entry) -> Iterator[str]:
    return (rf"(.*\.)?{re.escape(name)}" for name in families.family(entry).tied)


def _unused(entry: Entry, head: tuple[str, ...] = ()) -> Mapping[str, str]:
    family = families.family(entry)
    return {**family.ignored, **(family.replaced_head if head else {})}


@remembered
def inspected(module: nn.Module, inputs: Sequence[Input]) -> Inspection:
    """Returns the layers and arrays of a module."""
    return inspect_module(module, *(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in inputs))


def trace_ahead(entry: Entry, module: nn.Module, inputs: Sequence[Input]) -> None:
    """Traces a module for the comparison with weights to come, if the trace is remembered until then."""
    if is_pure(module):
        with suppress(Exception):  # which come again where they are expected
            (inspected if entry.layout else init.shapes)(module, inputs)


def _spare(
    entry: Entry,
    whole: nn.Module,
    inspection: Inspection,
    tensors: Tensors,
    layouts: Iterable[NamesAndRules],
) -> Iterator[str]:
    """Yields regular expressions for the tensors of the layers that only the whole module has."""
    present = {array.path for array in inspection.arrays}
    # Another head may take other inputs.
    others = inspected(whole, families.family(entry).inputs(whole, entry.inputs))
    for layout in layouts:
        found = best_fit(others, tensors, layout, (), (), ())
        for link in found.links:
            if not any(array.path in present for array in link.arrays):
                yield from (re.escape(name.removeprefix(found.prefix)) for name in link.tensors)


def _left_out(entry: Entry, fit: Fit, unused: Mapping[str, str]) -> Iterator[str]:
    """Yields a sentence about the tensors of the file that were left out, for each reason."""
    family, reasons = families.family(entry), dict[str, list[str]]()
    for name in fit.ignored:
        plain = name.removeprefix(fit.prefix)
        meanings = [meaning for pattern, meaning in unused.items() if re.fullmatch(pattern, plain)]
        # The other head need not be tied.
        reason = "" if _OTHER in meanings else _tied(name, fit, family.tied)
        reason = reason or next(iter(meanings), "")
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        count = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
        what = reason or "which Flax has no array for"
        yield f"left out {count}, {what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"


def _tied(name: str, fit: Fit, tied: Mapping[str, Ends]) -> str:
    """The reason for a tensor that is another one once more; empty where there is no other."""
    end = next((each for each in tied if is_named(name, each)), None)
    owners = [other for other in fit.tensors if end and is_named(other, tied[end])]
    if not owners:
        return ""
    if not _equal(fit.tensors, name, owners[0]):
        raise WeightsError(f"{name} differs from {owners[0]}; the zoo has models only in which they are one.")
    return f"{owners[0]} once more"


def _equal(tensors: Tensors, name: str, other: str) -> bool:
    if isinstance(tensors, Checkpoint):
        return tensors.are_equal(name, other)
    return np.array_equal(tensors[name], tensors[other])
