"""The places of an adapter's changes in a model: which arrays the tensors of those names make."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np

from converters.errors import ConversionError
from converters.linen import inspect_module
from converters.matching import Link, links_after_rules
from zoo._errors import ZooError
from zoo._model import Model, record_of
from zoo._registry import families
from zoo._registry.entry import Entry


@dataclass(frozen=True)
class Place:
    """A tensor of a PyTorch model, as some of the Flax model's arrays make it.

    Attributes:
        link: The arrays, and the tensors that they make.
        index: Which of these it is.
    """

    link: Link
    index: int

    @cached_property
    def inputs_first(self) -> bool:
        """Returns whether the tensor is a matrix (in, out), as Flax has it, and not (out, in)."""
        shapes = tuple(array.shape for array in self.link.arrays)
        if len(shapes) > 1 or len(shapes[0]) - len(self.link.arrays[0].lifts) != 2:
            return False
        probe = np.arange(np.prod(shapes[0])).reshape(shapes[0])
        first = probe[(0,) * (probe.ndim - 2)]
        return np.array_equal(self.link.to_torch((probe,))[0], first)


def layouts(model: Model) -> dict[str, dict[str, Place]]:
    """Returns the places of all tensors of a model, by layout and name.

    Raises:
        ZooError: the model is none of the zoo's architectures, so that nobody knows its tensors' names.
    """
    entry = record_of(model)
    if entry.family is None:
        raise ZooError(f"{entry.name!r} is a module of your own, whose PyTorch names the zoo does not know.")
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in entry.inputs]
    inspection = inspect_module(model.module, *inputs)
    found: dict[str, dict[str, Place]] = {}
    for layout, names in (families.family(entry).torch_names or {"": ()}).items():
        try:
            found[layout] = _places(links_after_rules(inspection, names, ()))
        except ConversionError:  # a layout of other variants of the family
            continue
    return found


def _places(links: Iterable[Link]) -> dict[str, Place]:
    return {name: Place(link, index) for link in links for index, name in enumerate(link.tensors)}


def found(entry: Entry, known: Mapping[str, Mapping[str, Place]], names: Iterable[str]) -> dict[str, Place]:
    """Returns the places of tensors, whose names may be those of a class around or inside of the model's.

    Raises:
        ZooError: the model has no such tensors; those of the way to read the names that leaves the fewest.
    """
    wanted = [*names]
    ways = [
        {name: places.get(_renamed(name, off, on)) for name in wanted}
        for places in known.values()
        for off, on in _prefixes(wanted, places)
    ]
    best = min(ways, key=lambda way: sum(place is None for place in way.values()))
    lacking = [name for name, place in best.items() if place is None]
    if lacking:
        shown = ", ".join(lacking[:3]) + (" ..." if len(lacking) > 3 else "")
        raise ZooError(
            f"the adapter changes {shown}, which {entry.name!r} does not have; load the base model with the "
            "head that it was trained with, such as head= or num_classes= makes."
        )
    return {name: place for name, place in best.items() if place}


def _prefixes(wanted: list[str], places: Mapping[str, Place]) -> Iterator[tuple[str, str]]:
    """Yields prefixes to take off and to put on: none, one of the adapter's, or one of the model's."""
    yield "", ""
    yield from ((f"{first}.", "") for first in dict.fromkeys(name.partition(".")[0] for name in wanted))
    yield from (("", f"{first}.") for first in dict.fromkeys(name.partition(".")[0] for name in places))


def _renamed(name: str, off: str, on: str) -> str:
    return on + name.removeprefix(off)
