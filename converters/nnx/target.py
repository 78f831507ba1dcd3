"""An NNX module that tensors go into, or come from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from flax.errors import TraceContextError

from converters.errors import ConversionError
from converters.inspection import Inspection, Path
from converters.matching import Link
from converters.nnx.after_flatten import after_flatten
from converters.nnx.inspect import inspect_nnx
from converters.nnx.state import state_of, values_of
from converters.nnx.walk import walk


@dataclass(frozen=True, kw_only=True)
class NnxTarget:
    """`Target` for an NNX module, concrete or abstract.

    Attributes:
        module: The module.
        build: Makes it, if `module` is the abstract one that this made; variables are then a new module.
    """

    module: nnx.Module
    build: Callable[[], nnx.Module] | None = None

    @classmethod
    def of(cls, module: nnx.Module | Callable[[], nnx.Module]) -> "NnxTarget":
        """Returns the target of a module, or of what a function makes, of which nothing is allocated.

        Raises:
            ConversionError: the function makes something else, or draws from random streams made outside it.
        """
        if isinstance(module, nnx.Module):
            return cls(module=module)
        try:
            made = _abstract(module)
        except TraceContextError as error:
            raise ConversionError(
                "the function changes what was made outside it; make the random streams inside, as in "
                "`lambda: Net(rngs=nnx.Rngs(0))`"
            ) from error
        if not isinstance(made, nnx.Module):
            raise ConversionError(
                f"the function makes a {type(made).__name__}, no nnx.Module; give a linen module itself"
            )
        return cls(module=made, build=module)

    def inspections(self) -> Sequence[Inspection]:
        first = inspect_nnx(self.module)
        if not any(array.lifts for array in first.arrays):
            return (first,)
        second = inspect_nnx(self.module, innermost=True)
        return (first, second) if second.arrays != first.arrays else (first,)

    def initial_values(self, paths: Sequence[Path]) -> list[np.ndarray]:
        found = walk(self.module)
        if self.build is None:
            values = [
                getattr(found.arrays[path], "get_value", lambda a=found.arrays[path]: a)() for path in paths
            ]
            abstract = [path for path, each in zip(paths, values, strict=True) if _is_shape(each)]
            if abstract:
                raise ConversionError(
                    f"an abstract module has no value for {'/'.join(abstract[0])}, which the state dict "
                    "lacks: give the function that makes the module instead"
                )
            return [np.asarray(value) for value in values]
        places = [found.places[path] for path in paths]

        def initial() -> list[Any]:
            assert self.build is not None
            flat = dict(nnx.to_flat_state(nnx.state(self.build())))
            return [flat[place].get_value() for place in places]

        return [np.asarray(value) for value in jax.jit(initial)()]

    def variables(self, arrays: Iterable[tuple[Path, np.ndarray]]) -> Any:
        state = state_of(self.module, arrays, self.build)
        if self.build is None:
            return state
        if any(isinstance(layer, nnx.WeightNorm) for layer in walk(self.module).layers.values()):
            made = self.build()  # flax forgets the gains of an abstract one
            nnx.update(made, state)
            return made
        return nnx.merge(nnx.graphdef(self.module), state)

    def doubts(self, links: Sequence[Link]) -> Sequence[str]:
        return tuple(after_flatten(walk(self.module).layers, links))

    def values(self, variables: Any, inspection: Inspection) -> Mapping[Path, Any]:
        found = values_of(variables, self.module)
        for array in inspection.arrays:
            if np.shape(found[array.path]) != array.shape:
                raise ConversionError(
                    f"the state does not fit {type(self.module).__name__}: {array} is "
                    f"{np.shape(found[array.path])} for {array.shape}"
                )
        return found


def _is_shape(value: Any) -> bool:
    return isinstance(value, jax.ShapeDtypeStruct)


def _abstract(build: Callable[[], Any]) -> Any:
    """Returns what a function makes, without values; the attributes of its modules in their own order.

    `nnx.eval_shape` sorts them, and a draft goes by their order.
    """
    orders: list[list[str]] = []

    def built() -> Any:
        made = build()
        if isinstance(made, nnx.Module):
            orders.extend(list(vars(module)) for _, module in nnx.iter_modules(made))
        return made

    made = nnx.eval_shape(built)
    if isinstance(made, nnx.Module):
        for (_, module), order in zip(nnx.iter_modules(made), orders, strict=True):
            attributes = vars(module)
            ordered = {name: attributes.pop(name) for name in order if name in attributes}
            attributes |= ordered
    return made
