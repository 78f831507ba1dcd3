"""A module that tensors go into, or come from: what a framework of Flax does with one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from converters.inspection import Inspection, Path


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

    def values(self, variables: Any, inspection: Inspection) -> Mapping[Path, Any]:
        """Returns the arrays of variables by their paths.

        Raises:
            ConversionError: they are not those of the module.
        """
