"""A module with its variables, as `zoo.load` returns it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax

from zoo._registry.entry import Entry


@partial(
    jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["module", "entry", "notes"]
)
@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A linen module and its variables, as one pytree: the variables are leaves, the rest is static.

    `entry` is the model's record, None for a module of your own; `notes` list what loading left out.
    """

    module: nn.Module
    variables: Mapping[str, Any]
    entry: Entry | None = None
    notes: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls `module.apply(variables, ...)`; takes method=, rngs= and mutable= as that does."""
        return self.module.apply(self.variables, *args, **kwargs)

    def __iter__(self) -> Iterator[Any]:
        """Unpacks: `module, variables = model`."""
        return iter((self.module, self.variables))

    def __repr__(self) -> str:
        name = f"{self.entry.name}: " if self.entry else ""
        leaves = jax.tree.leaves(self.variables.get("params", {}))
        # Leaves have no shape where jax passes a pytree without arrays, as in error messages.
        count = sum(getattr(leaf, "size", 1) for leaf in leaves)
        dtypes = sorted({str(getattr(leaf, "dtype", "no arrays")) for leaf in leaves})
        return f"<{name}{type(self.module).__name__}, {count:,} parameters, {', '.join(dtypes)}>"

    def replace(self, *, variables: Mapping[str, Any]) -> "Model":
        """Returns the same module with other variables."""
        return Model(self.module, variables, self.entry, self.notes)
