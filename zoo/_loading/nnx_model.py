"""Models whose module is NNX's."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax

from zoo._errors import ZooError
from zoo._loading.build import build
from zoo._model import Model, Origin
from zoo._nn.calls import check_pixels
from zoo._registry.entry import Entry, FrozenMapping
from zoo._variables import init
from zoo._variables.quantized import is_quantized
from zoo._variables.tree import count_params, flatten, unflatten

if TYPE_CHECKING:
    from flax import nnx

# The modules of zoo._nnx are imported in functions: they import flax.nnx, which takes a while.


@dataclass(frozen=True, kw_only=True)
class Record:
    """The part of a model that its NNX module carries besides arrays."""

    entry: Entry | None = None
    notes: tuple[str, ...] = ()
    origin: Origin = field(default=Origin(), compare=False)

    def __repr__(self) -> str:
        return f"record of {self.entry.name!r}" if self.entry else "no record"


class NNXModel(Model):
    """A model whose module is NNX's, and whose variables are those that the module holds now.

    As a pytree its leaves are the module's arrays.
    """

    def __init__(self, module: "nnx.Module", record: Record) -> None:
        """Takes the module, and the model's other facts."""
        facts = {"entry": record.entry, "notes": record.notes, "origin": record.origin}
        for name, value in {"module": module, **facts}.items():
            object.__setattr__(self, name, value)

    @property
    def variables(self) -> Mapping[str, Any]:
        """The arrays as linen has them, by collection and layer; those of an own module by its attributes."""
        from converters.nnx import NnxTarget
        from zoo._nnx.build import linen_variables
        from zoo._nnx.composite import Composite

        if isinstance(self.module, Composite):
            return unflatten(linen_variables(self.module))
        target = NnxTarget.of(self.module)
        found = target.values(self.module, target.inspections()[0])
        return unflatten({"/".join(path): array for path, array in found.items()})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the module.

        Raises:
            ZooError: the inputs are none of the module's.
        """
        if self.entry and args:
            check_pixels(args[0], self.entry)
        return self.module(*args, **kwargs)

    def linen(self) -> Model:
        """Returns the same arrays as a model of linen."""
        return from_nnx(self.module)

    def summary(self, *, depth: int | None = None) -> str:
        """Returns the table of the linen model."""
        return self.linen().summary(depth=depth)

    def replace(self, *, variables: Mapping[str, Any]) -> Model:
        """Returns a model with other variables, and a module of its own."""
        return nnx_model(self.linen().replace(variables=variables))


def _flatten(model: NNXModel) -> tuple[tuple[Any, ...], Record]:
    return (model.module,), Record(entry=model.entry, notes=model.notes, origin=model.origin)


jax.tree_util.register_pytree_node(NNXModel, _flatten, lambda record, children: NNXModel(children[0], record))


def nnx_model(model: Model, rngs: "nnx.Rngs | None" = None, inputs: Any = ()) -> NNXModel:
    """Returns a model of NNX that shares a linen model's arrays.

    Args:
        model: The linen model.
        rngs: Random streams; by default from seed 0.
        inputs: Example inputs, or their shapes; by default those of its entry.

    Raises:
        ZooError: nobody knows example inputs.
    """
    if any(map(is_quantized, flatten(model.variables).values())):
        raise ZooError(
            f"{model.name!r} has weights made small by zoo.quantize, which NNX's layers do not take; make "
            "the NNX module of the model before that."
        )
    from flax import nnx

    from zoo._nnx.build import build as build_nnx

    known = model.entry.inputs if model.entry else ()
    examples = inputs or [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in known]
    if not examples:
        raise ZooError(
            f"nothing says what this {type(model.module).__name__} takes, and its layers are found by an "
            "abstract run; pass example inputs or their shapes: zoo.to_nnx(model, inputs=[...])."
        )
    record = Record(entry=model.entry, notes=model.notes, origin=model.origin)
    streams = nnx.Rngs(0) if rngs is None else rngs
    return NNXModel(build_nnx(model.module, model.variables, examples, streams, record), record)


def in_nnx(model: Model, seed: int) -> NNXModel:
    """Returns a model of NNX that shares a linen model's arrays, with random streams from a seed."""
    from flax import nnx

    return nnx_model(model, nnx.Rngs(seed))


def from_nnx(module: Any) -> Model:
    """Returns the linen model of a module of `to_nnx` or `load`, or of a part of one; shares its arrays.

    A head for other classes gives a model with as many.

    Raises:
        ZooError: it was not made of a linen module, or layers were replaced by ones with other arrays.
    """
    from zoo._nnx.build import definition_of, linen_variables

    definition = definition_of(module)
    record = definition.record or Record()
    flat = linen_variables(module)
    found = {path: tuple(array.shape) for path, array in flat.items()}
    model = Model(definition.module, unflatten(flat), record.entry, record.notes, record.origin)
    if found == definition.shapes:
        return model
    other = _with_classes(model, found, definition.shapes)
    if other is None:
        raise ZooError(_difference(type(module).__name__, found, definition.shapes))
    return other


def _with_classes(
    model: Model, found: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> Model | None:
    """Returns the model whose number of classes makes these shapes; None if there is no such."""
    changed = [path for path in shapes if found.get(path) != shapes[path]]
    counts = {found[path][-1:] for path in changed if path in found}
    if len(counts) != 1 or () in counts or not hasattr(model.module, "num_classes"):
        return None
    classes: dict[str, Any] = {"num_classes": counts.pop()[0]}
    entry = model.entry
    if entry is None or entry.family is None:
        return _fitting(model.module.clone(**classes), model, found, shapes)
    module, built = build(entry, dtype=getattr(model.module, "dtype", None), config=classes)
    if {path: leaf.shape for path, leaf in init.shapes(module, built.inputs).items()} != found:
        return None
    described = replace(
        built,
        num_params=count_params(model.variables),
        weights=None,
        layout=None,
        metrics=FrozenMapping(),
        source=None,
        base_model=model.origin.located.public_name if model.origin.located else None,
    )
    return Model(module, model.variables, described, model.notes, model.origin)


def _fitting(
    module: nn.Module,
    model: Model,
    found: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
) -> Model | None:
    """Returns the model with a module of one's own, if only last axes changed."""
    same = found.keys() == shapes.keys() and all(found[path][:-1] == shapes[path][:-1] for path in shapes)
    return Model(module, model.variables) if same else None


def _difference(
    name: str, found: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    lines = [f"missing    {path}" for path in shapes if path not in found]
    lines += [
        f"misshapen  {path}: {found[path]} for {shapes[path]}"
        for path in shapes
        if path in found and found[path] != shapes[path]
    ]
    lines += [f"left over  {path}" for path in found if path not in shapes]
    shown = "".join(f"\n  {line}" for line in lines)
    return (
        f"the layers of this {name} are no longer those of its linen module; put layers with the same arrays "
        f"back (a LoRA's product added to the kernel), or save its nnx.state:{shown}"
    )


def in_linen(given: Any) -> Any:
    """Returns the linen model of an NNX module or model; anything else as it is.

    Raises:
        ZooError: as `from_nnx`.
    """
    if isinstance(given, Model):
        return given.linen()
    nnx = sys.modules.get("flax.nnx")  # who has one has imported it
    return from_nnx(given) if nnx is not None and isinstance(given, nnx.Module) else given
