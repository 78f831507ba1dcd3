"""A module that tensors go into, or come from: what a framework of Flax does with one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from converters.inspection import Inspection, Path
from converters.matching.links import Link


class Target(Protocol):
    """A module, and how its framework inspects it, initializes it and holds its variables."""

    @property
    def module(self) -> Any:
        """Returns the module."""

    def inspections(self) -> Sequence[Inspection]:
        """Returns the ways to see the module, the likeliest first."""

    def initial_values(self, paths: Sequence[Path]) -> list[np.ndarray]:
        """Returns the values that the module is initialized with, of these arrays only."""

    def variables(self, arrays: Iterable[tuple[Path, np.ndarray]]) -> Any:
        """Returns arrays, by their paths, in the form in which the framework holds them."""

    def doubts(self, links: Sequence[Link]) -> Sequence[str]:
        """Returns sentences on what may be wrong with a conversion that fits."""

    def values(self, variables: Any, inspection: Inspection) -> Mapping[Path, Any]:
        """Returns the arrays of variables by their paths.

        Raises:
            ConversionError: they are not those of the module.
        """
