"""NNX modules from linen ones, and linen's variables from NNX modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import flax.linen as nn
from flax import nnx
from flax.core import meta

from zoo._errors import ZooError
from zoo._nnx.composite import OURS, Composite, composite
from zoo._nnx.definition import Definition, Part, parts
from zoo._nnx.layers import twin
from zoo._nnx.tree import Path, variable, variables
from zoo._variables.tree import flatten

Arrays = Mapping[str, Any]  # linen's variables or a part of them: nested by names


def build(
    module: nn.Module, given: Arrays, inputs: Sequence[Any], rngs: nnx.Rngs, record: Any = None
) -> nnx.Module:
    """Returns the NNX module of a linen one, which holds the very arrays.

    Args:
        module: Any linen module.
        given: Its variables.
        inputs: Example arrays, or their shapes; nothing is computed with them.
        rngs: Random streams, of which dropout and what else draws take their own.
        record: More that the module carries, as its `definition.record`.

    Raises:
        ZooError: the variables do not fit, or an attribute has a name that the NNX module needs.
    """
    # Unboxed one by one: together, jax would sort their paths.
    flat = flatten(given)
    arrays = {tuple(path.split("/")): meta.unbox(leaf) for path, leaf in flat.items()}
    top = parts(module, arrays, *inputs)
    expected = {(kind, *path) for kind, path in top.paths()}
    problems = [f"missing    {'/'.join(path)}" for path in sorted(expected - arrays.keys())]
    problems += [f"left over  {'/'.join(path)}" for path in arrays if path not in expected]
    if problems:
        lines = "".join(f"\n  {line}" for line in problems)
        raise ZooError(f"the variables are not those that init of {type(module).__name__} makes:{lines}")
    return _Builder(arrays=arrays, rngs=rngs, record=record).composite(top, ())


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """Modules from parts.

    Attributes:
        arrays: Linen's variables by path, in the order that files have them in.
        rngs: As for `build`.
        record: As for `build`.
    """

    arrays: Mapping[Path, Any]
    rngs: nnx.Rngs
    record: Any

    def module(self, part: Part, path: Path) -> nnx.Module:
        """Returns the layer of NNX that computes what a part does, or else a composite."""
        if not (part.native or part.children):
            own = {name: self.arrays[kind, *path, name] for kind, name in part.arrays}
            found = twin(part.layer, own, self.rngs)
            if found is not None:
                return found
        return self.composite(part, path)

    def composite(self, part: Part, path: Path) -> nnx.Module:
        """Returns the composite of a part."""
        definition = part.define(self._shapes(part, path), None if path else self.record)
        draws, kind = definition.draws or definition.streams, cast(Any, type(part.layer))
        made = composite(kind)(definition, self.rngs.fork() if draws else None)
        held = {name: self.module(child, (*path, name)) for name, child in part.children.items()}
        own = {name: variable(kind, self.arrays[kind, *path, name]) for kind, name in part.arrays}
        for name, value in (own | _grouped(part, held)).items():
            if name in OURS:
                raise ZooError(
                    f"{'/'.join((*path, name))} has the name of an attribute of NNX; call it otherwise."
                )
            setattr(made, name, value)
        return made

    def _shapes(self, part: Part, path: Path) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the arrays at and below a part, in the order of files."""
        inside = {(kind, *path, *below): (kind, *below) for kind, below in part.paths()}
        return {
            "/".join(inside[full]): tuple(array.shape)
            for full, array in self.arrays.items()
            if full in inside
        }


def _grouped(part: Part, held: Mapping[str, nnx.Module]) -> dict[str, Any]:
    """Returns modules by the attribute that holds them in linen: one, a list, or a dictionary."""
    trees: dict[str, Any] = {}
    for name, module in held.items():
        attribute = part.children[name].attribute or name
        # A list that also has functions, or a compact module's layer, may be named in another way.
        keys = attribute.split(".") if attribute.replace(".", "_") == name else [name]
        inner = trees
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = module
    return {name: _container(tree) for name, tree in trees.items()}


def _container(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    items = {key: _container(item) for key, item in tree.items()}
    if sorted(items) == sorted(str(index) for index in range(len(items))):
        return nnx.List([items[str(index)] for index in range(len(items))])
    return nnx.Dict(items)


def linen_variables(module: Any) -> dict[str, Any]:
    """Returns linen's variables with the arrays of a module of `build`, flat by path, in linen's order.

    Raises:
        ZooError: it was not made of a linen module.
    """
    order = definition_of(module).shapes
    found = {"/".join(path): each.get_value() for path, each in variables(module)}
    return {path: found[path] for path in (*(path for path in order if path in found), *found)}


def definition_of(module: Any) -> Definition:
    """Returns the definition of a module that was made of a linen one.

    Raises:
        ZooError: it was not.
    """
    if not isinstance(module, Composite):
        raise ZooError(
            f"this {type(module).__name__} was not made of a linen module, as zoo.to_nnx and "
            "zoo.load(..., library='nnx') do; pass one of the modules that they give."
        )
    return module.definition
