"""A module with its variables, as `zoo.load` returns it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax

from zoo._errors import ZooError
from zoo._loading.located import Located
from zoo._nn.calls import check_pixels, explained
from zoo._registry.entry import Entry
from zoo._variables import init, summary

SHOWN = 3  # layers of an origin; more are "others"

if TYPE_CHECKING:
    # The only type that unpacks to two different ones; at run time jax would take a tuple apart itself.
    Unpacked = tuple[nn.Module, Mapping[str, Any]]
else:
    Unpacked = object


class _Printed(str):
    """A text that shows itself as it is printed, where it is the last line of a notebook's cell."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where variables are from; takes no part in comparisons, so that jax compiles once for all of them.

    Attributes:
        pretrained: True if weights were loaded; None where nobody said.
        initialized: Paths of the arrays that were initialized beside loaded ones, such as a new head's.
        located: The model that was loaded, with the place of its tokenizer; None where nobody knows.
    """

    pretrained: bool | None = field(default=None, compare=False)
    initialized: tuple[str, ...] = field(default=(), compare=False)
    located: Located | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.pretrained is None:
            return ""
        if not self.pretrained:
            return "not pretrained"
        layers = dict.fromkeys(path.partition("/")[2].rpartition("/")[0] for path in self.initialized)
        shown = [*layers][:SHOWN] + (["others"] if len(layers) > SHOWN else [])
        return f"pretrained but for {' and '.join(shown)}" if shown else "pretrained"


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["variables"],
    meta_fields=["module", "entry", "notes", "origin"],
)
@dataclass(frozen=True, eq=False, repr=False)
class Model(Unpacked):
    """A linen module and its variables, as one pytree: the variables are leaves, the rest is static.

    `entry` is the model's record, None for a module of your own, for which `zoo.info(model)` says what to
    do; `notes` list what loading left out; `origin`
    says whether the variables were loaded, and from where.

    Examples:
        >>> model = zoo.load("cnn_mnist", pretrained=True)
        >>> module, variables = model
        >>> logits = jax.jit(lambda model, images: model(images))(model, images)
        >>> halved = model.replace(variables=jax.tree.map(lambda array: array / 2, variables))
    """

    module: nn.Module
    variables: Mapping[str, Any]
    entry: Entry | None = None
    notes: tuple[str, ...] = ()
    origin: Origin = Origin()

    if TYPE_CHECKING:

        def __new__(
            cls,
            module: nn.Module,
            variables: Mapping[str, Any],
            entry: Entry | None = None,
            notes: tuple[str, ...] = (),
            origin: Origin = Origin(),
        ) -> "Model": ...

    else:

        def __iter__(self) -> Iterator[Any]:
            """Unpacks: `module, variables = model`."""
            return iter((self.module, self.variables))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls `module.apply(variables, ...)`; takes method=, rngs= and mutable= as that does.

        Raises:
            ZooError: the inputs are none of the module's, or mutable= or rngs= lacks what the call needs.
        """
        if self.entry and args and not kwargs.get("method"):
            check_pixels(args[0], self.entry)
        with explained():
            return self.module.apply(self.variables, *args, **kwargs)

    @property
    def name(self) -> str:
        """The entry's name, or else the module's class."""
        return self.entry.name if self.entry else type(self.module).__name__

    @property
    def num_params(self) -> int:
        """Number of parameters; running statistics do not count."""
        return summary.size(self.variables.get("params", {}))

    @property
    def pretrained(self) -> bool | None:
        """True if weights were loaded, which may have been trained further since; None if nobody said."""
        return self.origin.pretrained

    def summary(self, *, depth: int | None = None) -> str:
        """Returns a table of the layers: their shapes, parameters, dtypes and bytes.

        Equal layers of a list are one line, such as `h_0...11`, which counts all of them.

        Args:
            depth: Number of names in a layer's path; layers further inside count with those around them. By
                default as many as the table has room for.
        """
        title = ", ".join(_phrases(self._facts()))
        inputs = self.entry.inputs if self.entry else ()
        order = tuple(init.shapes(self.module, inputs)) if inputs else ()
        return _Printed(f"{title}\n\n{summary.table(self.variables, order, depth)}")

    def linen(self) -> "Model":
        """Returns the model itself; of one whose module is NNX's, the linen model."""
        return self

    def replace(self, *, variables: Mapping[str, Any]) -> "Model":
        """Returns the same module with other variables."""
        return Model(self.module, variables, self.entry, self.notes, self.origin)

    def _facts(self) -> dict[str, str]:
        """Returns what a reader asks first, by name; no fact is empty."""
        entry = self.entry
        inputs = [f"{each.name} {each.shape}" for each in entry.inputs] if entry else []
        facts = {
            "name": self.name,
            "module": type(self.module).__name__ if entry else "",
            "family": (entry and entry.family) or "",
            "parameters": f"{self.num_params:,}",
            "dtype": ", ".join(summary.dtypes(self.variables.get("params", {}))),
            "origin": str(self.origin),
            "inputs": " and ".join(inputs),
            "license": str(entry.license or "") if entry and self.pretrained else "",  # it is the weights'
        }
        return {name: text for name, text in facts.items() if text}

    def __repr__(self) -> str:
        name, *others = _phrases(self._facts())
        return f"<{name}{':' if self.entry else ','} {', '.join(others)}>"

    def _repr_html_(self) -> str:
        """Returns the same facts as a table, which notebooks show."""
        rows = (
            f"<tr><th align=left>{name}</th><td align=left>{escape(text)}</td></tr>"
            for name, text in self._facts().items()
        )
        return f"<table>{''.join(rows)}</table>"


def record_of(model: Model) -> Entry:
    """Returns a model's record.

    Raises:
        ZooError: it is a module of your own, which has none.
    """
    if model.entry is None:
        raise ZooError(
            f"this {type(model.module).__name__} has no record of what it takes and gives: save it with "
            "zoo.save(model, directory, inputs=..., preprocess=..., labels=...), and load that with module=."
        )
    return model.entry


def _phrases(facts: Mapping[str, str]) -> list[str]:
    forms = {"family": "family {}", "parameters": "{} parameters", "license": "license {}"}
    return [forms.get(name, "{}").format(text) for name, text in facts.items()]
